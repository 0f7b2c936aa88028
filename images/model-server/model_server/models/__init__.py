"""The served models: which versions there are, how they are loaded, warmed up, switched and unloaded."""
