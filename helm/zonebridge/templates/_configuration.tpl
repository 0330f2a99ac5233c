{{- define "zonebridge.bind" -}}
{{- (.Values.config.health | default dict).bind | default "0.0.0.0:8081" -}}
{{- end -}}

{{- define "zonebridge.port" -}}
{{- include "zonebridge.bind" . | splitList ":" | last -}}
{{- end -}}

{{- /* Refuse what the schema cannot say. */ -}}
{{- define "zonebridge.check" -}}
{{- if and (eq .Values.store.kind "sqlite") (gt (int .Values.replicas) 1) -}}
{{- fail "replicas: several share a store in PostgreSQL; set store.kind to postgresql, or replicas to 1" -}}
{{- end -}}
{{- /* Not in the schema, whose messages repeat the value. */ -}}
{{- if regexMatch `://[^:/@]*:[^@]*@|(?i)[?&][^=&]*password[^=&]*=` .Values.store.postgresql.url -}}
{{- fail "store.postgresql.url: holds a password; put it into a Secret and name that in store.postgresql.passwordSecret" -}}
{{- end -}}
{{- if and (eq .Values.store.kind "postgresql") (not (hasPrefix "postgresql+psycopg://" .Values.store.postgresql.url)) -}}
{{- fail "store.postgresql.url: must be postgresql+psycopg://USER@HOST/DATABASE" -}}
{{- end -}}
{{- $engine := (.Values.config.engine | default dict).kind | default "embedded" -}}
{{- $workers := include "zonebridge.hasWorkers" . -}}
{{- if and $workers (eq .Values.mode "cronjob") -}}
{{- fail "workers: a CronJob syncs the clusters itself; set mode to service, or workers.replicas to 0 and workers.autoscaling.enabled to false" -}}
{{- end -}}
{{- if and $workers (eq .Values.store.kind "sqlite") -}}
{{- fail "workers: share a queue in PostgreSQL; set store.kind to postgresql, or workers.replicas to 0 and workers.autoscaling.enabled to false" -}}
{{- end -}}
{{- if and $workers (ne $engine "procrastinate") -}}
{{- fail "workers: there is nothing for them to do, since the service syncs the clusters itself; set config.engine.kind to procrastinate, or workers.replicas to 0 and workers.autoscaling.enabled to false" -}}
{{- end -}}
{{- if and (eq .Values.mode "service") (eq $engine "procrastinate") -}}
{{- if eq .Values.store.kind "sqlite" -}}
{{- fail "config.engine.kind: procrastinate keeps its queue in PostgreSQL; set store.kind to postgresql, or config.engine.kind to embedded" -}}
{{- end -}}
{{- if not (or $workers .Values.workers.elsewhere) -}}
{{- fail "config.engine.kind: with procrastinate only workers sync clusters, and there are none; set workers.replicas, or workers.elsewhere where others run them on the same database" -}}
{{- end -}}
{{- end -}}
{{- with .Values.workers.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail "workers.autoscaling.minReplicas: is more than maxReplicas; lower it, or raise that" -}}
{{- end -}}
{{- end -}}
{{- if and $workers (not (or .Values.workers.serviceAccount.create .Values.workers.serviceAccount.name)) -}}
{{- fail "workers.serviceAccount.name: is missing; name the account, or let the chart make one (workers.serviceAccount.create)" -}}
{{- end -}}
{{- if regexMatch `^(127\.|localhost:|\[::1\])` (include "zonebridge.bind" .) -}}
{{- fail "config.health.bind: no probe reaches a loopback address of the pod; write 0.0.0.0:8081 or [::]:8081" -}}
{{- end -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name: is missing; name the account, or let the chart make one (serviceAccount.create)" -}}
{{- end -}}
{{- if and .Values.extraCA.configMap .Values.extraCA.secret -}}
{{- fail "extraCA: name a configMap or a secret, not both" -}}
{{- end -}}
{{- $definitions := (.Values.config.zones | default dict).definitions | default dict -}}
{{- $ordered := .Values.zoneOrder -}}
{{- if and (not $ordered) (eq (len $definitions) 1) -}}
{{- $ordered = keys $definitions -}}
{{- end -}}
{{- if ne (toJson (sortAlpha $ordered)) (toJson (sortAlpha (keys $definitions))) -}}
{{- fail "zoneOrder: must list each name in config.zones.definitions once, highest rank first: Helm does not keep their order" -}}
{{- end -}}
{{- end -}}

{{- /* What of zonebridge.yaml a service takes up only when it starts: AT_START of sync/settings/changes.py. */ -}}
{{- define "zonebridge.startConfiguration" -}}
{{- $config := include "zonebridge.configuration" . | fromYaml -}}
{{- $health := $config.health | default dict -}}
{{- $audit := $config.audit | default dict -}}
{{- toJson (list $config.instance $config.store $config.engine $health.bind $audit.head_file) -}}
{{- end -}}

{{- /* zonebridge.yaml. Definitions of zones are written one by one: their order is their rank. */ -}}
{{- define "zonebridge.configuration" -}}
{{- $zones := .Values.config.zones | default dict -}}
{{- $definitions := $zones.definitions | default dict -}}
store:
{{- if eq .Values.store.kind "sqlite" }}
  url: sqlite:////var/lib/zonebridge/zonebridge.db
{{- else }}
  url: {{ .Values.store.postgresql.url | quote }}
  {{- with .Values.store.postgresql.passwordSecret }}
  {{- if .name }}
  password_file: {{ printf "/etc/zonebridge/database/%s" .key | quote }}
  {{- end }}
  {{- end }}
{{- end }}
{{ toYaml (omit .Values.config "zones") }}
{{- if $zones }}
zones:
  {{- with omit $zones "definitions" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if $definitions }}
  definitions:
    {{- range $name := .Values.zoneOrder | default (keys $definitions) }}
    {{- toYaml (dict $name (get $definitions $name)) | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
