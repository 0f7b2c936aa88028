{{/* Name of the chart, for labels; where the chart is a dependency with an alias, that is the alias. */}}
{{- define "slipway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* A name that every kind accepts: an alias may have capitals and underscores. Takes the text. */}}
{{- define "slipway.objectName" -}}
{{- lower . | replace "_" "-" | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Name of all objects: the release name, with the chart name unless the release name contains it. */}}
{{- define "slipway.fullname" -}}
{{- $name := include "slipway.name" . }}
{{- if .Values.fullnameOverride }}
{{- include "slipway.objectName" .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- include "slipway.objectName" .Release.Name }}
{{- else }}
{{- include "slipway.objectName" (printf "%s-%s" .Release.Name $name) }}
{{- end }}
{{- end }}

{{- define "slipway.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "slipway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "slipway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "slipway.labels" -}}
{{ include "slipway.selectorLabels" . }}
app.kubernetes.io/part-of: slipway
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "slipway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "slipway.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "slipway.leaseName" -}}
{{- default (printf "%s-operator" (include "slipway.fullname" .)) .Values.leaderElection.leaseName }}
{{- end }}

{{/* A user or group, 0 included; nothing if it is left out. Takes the value. */}}
{{- define "slipway.identity" -}}
{{- if not (or (kindIs "invalid" .) (eq (toString .) "")) }}{{ int64 . }}{{ end }}
{{- end }}

{{/* An image. Takes a list of its values (repository, tag, digest) and the default tag. */}}
{{- define "slipway.image" -}}
{{- $image := index . 0 }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default (index . 1) $image.tag) }}
{{- end }}
{{- end }}

{{/*
Permissions on ModelDeployments and their children, in one namespace or in all. Server-side apply is a patch, and also needs
create if the object does not exist.
*/}}
{{- define "slipway.rules" -}}
- apiGroups: [serving.slipway.dev]
  resources: [modeldeployments]
  verbs: [get, list, watch]
- apiGroups: [serving.slipway.dev]
  resources: [modeldeployments/status]
  verbs: [patch]
# The garbage collector deletes Deployments and Services with their owner.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [create, list, patch, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [create, list, patch, watch]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [create, delete, list, patch, watch]
# The pin of a revision: what its first pod fetched. Created and never changed; the garbage collector deletes it with its
# ControllerRevision. The watch selects Slipway's own by label; RBAC cannot restrict a permission to a label.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, list, watch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [create, delete, list, patch, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, delete, list, patch, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* Common part of both endpoints of a model's pod; ends with the list of relabelings. */}}
{{- define "slipway.modelScrape" -}}
{{- with .Values.podMonitor.interval }}
interval: {{ . }}
{{- end }}
{{- with .Values.podMonitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .Values.podMonitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
  - sourceLabels: [__meta_kubernetes_pod_label_serving_slipway_dev_name]
    targetLabel: model_deployment
{{- end }}
