{{- /*
The template of a pod that runs one command of zonebridge beside the files that it reads.
Of: root (the chart's scope), component, arguments, restartPolicy, probes (whether it answers them),
configuration (the text whose change is to start it anew; none where it needs no start).
*/ -}}
{{- define "zonebridge.pod" -}}
{{- $ := .root -}}
{{- $component := .component -}}
metadata:
  labels:
    {{- with $.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "zonebridge.labels" $ | trim | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  {{- $annotations := $.Values.podAnnotations }}
  {{- with .configuration }}
  {{- $annotations = merge (dict "checksum/config" (sha256sum .)) $annotations }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- include "zonebridge.placement" $ | nindent 2 }}
  automountServiceAccountToken: {{ $.Values.serviceAccount.automount }}
  terminationGracePeriodSeconds: {{ $.Values.terminationGracePeriodSeconds }}
  {{- with $.Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $selected := dict "matchLabels" (merge (dict "app.kubernetes.io/component" $component) (include "zonebridge.selectorLabels" $ | fromYaml)) }}
    {{- range . }}
    {{- $constraint := hasKey . "labelSelector" | ternary . (set (deepCopy .) "labelSelector" $selected) }}
    - {{- toYaml $constraint | nindent 6 }}
    {{- end }}
  {{- end }}
  initContainers:
    # Several pods may start at once: the upgrade holds a lock in the store.
    - name: upgrade
      args: [db, upgrade]
      {{- include "zonebridge.container" $ | nindent 6 }}
      resources:
        {{- toYaml $.Values.resources | nindent 8 }}
  containers:
    - name: zonebridge
      args:
        {{- toYaml .arguments | nindent 8 }}
      {{- include "zonebridge.container" $ | nindent 6 }}
      resources:
        {{- toYaml $.Values.resources | nindent 8 }}
      {{- if .probes }}
      ports:
        - name: metrics
          containerPort: {{ include "zonebridge.port" $ }}
      {{- range $probe, $path := dict "startupProbe" "/livez" "livenessProbe" "/livez" "readinessProbe" "/readyz" }}
      {{ $probe }}:
        httpGet:
          path: {{ $path }}
          port: metrics
        {{- toYaml (get $.Values $probe) | nindent 8 }}
      {{- end }}
      {{- end }}
  volumes:
    {{- if eq $.Values.store.kind "sqlite" }}
    - name: store
      persistentVolumeClaim:
        claimName: {{ include "zonebridge.claimName" $ }}
    {{- end }}
    {{- include "zonebridge.volumes" $ | nindent 4 }}
{{- end -}}

{{- /* Where a pod runs, and as whom. */ -}}
{{- define "zonebridge.placement" -}}
serviceAccountName: {{ include "zonebridge.serviceAccountName" . }}
# Variables of the namespace's services look like settings.
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* What all containers have: the image, the environment and the files. */ -}}
{{- define "zonebridge.container" -}}
image: {{ include "zonebridge.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
env:
  - name: ZONEBRIDGE_CONFIG
    value: /etc/zonebridge/config/zonebridge.yaml
  # Events are about this pod.
  {{- range $name, $field := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" }}
  - name: {{ $name }}
    valueFrom:
      fieldRef:
        fieldPath: {{ $field }}
  {{- end }}
  {{- if or .Values.extraCA.configMap .Values.extraCA.secret }}
  - name: SSL_CERT_FILE
    value: /etc/zonebridge/ca/{{ .Values.extraCA.key }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: config
    mountPath: /etc/zonebridge/config
    readOnly: true
  {{- range $name, $_ := .Values.files }}
  - name: files-{{ $name }}
    mountPath: /etc/zonebridge/files/{{ $name }}
    readOnly: true
  {{- end }}
  {{- if and (eq .Values.store.kind "postgresql") .Values.store.postgresql.passwordSecret.name }}
  - name: database
    mountPath: /etc/zonebridge/database
    readOnly: true
  {{- end }}
  {{- if or .Values.extraCA.configMap .Values.extraCA.secret }}
  - name: ca
    mountPath: /etc/zonebridge/ca
    readOnly: true
  {{- end }}
  {{- if eq .Values.store.kind "sqlite" }}
  - name: store
    mountPath: /var/lib/zonebridge
  {{- end }}
  - name: tmp
    mountPath: /tmp
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* What is mounted there, but the store. Files are readable to the group of fsGroup, not to all. */ -}}
{{- define "zonebridge.volumes" -}}
- name: config
  configMap:
    name: {{ include "zonebridge.fullname" . }}
{{- range $name, $from := .Values.files }}
- name: files-{{ $name }}
  {{- if $from.configMap }}
  configMap:
    name: {{ $from.configMap }}
  {{- else }}
  secret:
    secretName: {{ $from.secret | default (printf "%s-%s" (include "zonebridge.fullname" $) $name) }}
    defaultMode: 0440
  {{- end }}
{{- end }}
{{- with .Values.store.postgresql.passwordSecret }}
{{- if and (eq $.Values.store.kind "postgresql") .name }}
- name: database
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items:
      - key: {{ .key }}
        path: {{ .key }}
{{- end }}
{{- end }}
{{- with .Values.extraCA }}
{{- if or .configMap .secret }}
- name: ca
  {{- if .configMap }}
  configMap:
    name: {{ .configMap }}
  {{- else }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
  {{- end }}
{{- end }}
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 128Mi
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
