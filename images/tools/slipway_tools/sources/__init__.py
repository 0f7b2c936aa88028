"""Where models come from: a mounted volume claim (pvc) or an archive behind a URL (http)."""
