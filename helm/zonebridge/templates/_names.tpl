{{- define "zonebridge.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* At most 52 characters: a CronJob adds 11 to the names of its Jobs. A Service has no dots. */ -}}
{{- define "zonebridge.fullname" -}}
{{- $name := include "zonebridge.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "zonebridge.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "zonebridge.fullname" .) -}}
{{- end -}}

{{- /* Whether this release runs workers. */ -}}
{{- define "zonebridge.hasWorkers" -}}
{{- if or .Values.workers.autoscaling.enabled .Values.workers.replicas -}}true{{- end -}}
{{- end -}}

{{- define "zonebridge.workersName" -}}
{{- printf "%s-workers" (include "zonebridge.fullname" .) -}}
{{- end -}}

{{- /* The account of those who write clusters: of the workers, where there are any. */ -}}
{{- define "zonebridge.writerAccountName" -}}
{{- if include "zonebridge.hasWorkers" . -}}
{{- .Values.workers.serviceAccount.name | default (include "zonebridge.workersName" .) -}}
{{- else -}}
{{- include "zonebridge.serviceAccountName" . -}}
{{- end -}}
{{- end -}}

{{- define "zonebridge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "zonebridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "zonebridge.labels" -}}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "zonebridge.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "zonebridge.image" -}}
{{- $from := .Values.image -}}
{{- if $from.digest -}}
{{ $from.repository }}@{{ $from.digest }}
{{- else -}}
{{ $from.repository }}:{{ $from.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "zonebridge.claimName" -}}
{{- .Values.store.sqlite.existingClaim | default (include "zonebridge.fullname" .) -}}
{{- end -}}
