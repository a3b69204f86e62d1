{{- define "gaff.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "gaff.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gaff.labels" -}}
{{ include "gaff.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "gaff.serviceAccount" -}}
{{ if .Values.serviceAccount.create }}{{ default (include "gaff.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "gaff.pod" -}}
metadata:
  labels:
    {{- include "gaff.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    checksum/config: {{ toYaml (list .Values.config .Values.workflows .Values.env) | sha256sum | trunc 32 }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "gaff.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: gaff
      image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      ports:
        - {name: http, containerPort: 3000}
        - {name: admin, containerPort: 3001}
      env:
        - {name: GAFF_ADDR, value: ":3000"}
        - {name: GAFF_ADMIN_ADDR, value: ":3001"}
        - {name: GAFF_DATA_DIR, value: /var/lib/gaff}
        - {name: GAFF_LOG_FORMAT, value: json}
        {{- with .Values.webhookBaseURL }}
        - {name: WEBHOOK_BASE_URL, value: {{ . | quote }}}
        {{- end }}
        {{- with .Values.trustedProxies }}
        - {name: GAFF_TRUSTED_PROXIES, value: {{ join "," . | quote }}}
        {{- end }}
        {{- if eq .Values.store "postgres" }}
        - name: GAFF_DATABASE_URL
          valueFrom: {secretKeyRef: {name: {{ required "postgres.existingSecret: name a secret with the database's URL" .Values.postgres.existingSecret | quote }}, key: {{ .Values.postgres.key | quote }}}}
        - {name: GAFF_MEDIA_URL, value: {{ required "postgres.mediaURL: a bucket, a folder that all pods share, or off" .Values.postgres.mediaURL | quote }}}
        {{- end }}
        {{- if .Values.workflows }}
        - {name: GAFF_WORKFLOWS, value: /etc/gaff-workflows}
        {{- end }}
        {{- range $name, $value := .Values.env }}
        - {name: {{ $name }}, value: {{ $value | toString | quote }}}
        {{- end }}
      {{- with .Values.existingSecret }}
      envFrom:
        - secretRef: {name: {{ . | quote }}}
      {{- end }}
      # Not alive: the process hangs. Not ready: it cannot store a webhook just now.
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      # Migrations may take their time.
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: 300
      resources: {{ toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /var/lib/gaff}
        - {name: tmp, mountPath: /tmp}
        - {name: config, mountPath: /etc/gaff, readOnly: true}
        {{- if .Values.workflows }}
        - {name: workflows, mountPath: /etc/gaff-workflows, readOnly: true}
        {{- end }}
        {{- with .Values.volumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    {{- if eq .Values.store "postgres" }}
    - {name: data, emptyDir: {}}
    {{- end }}
    - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
    - {name: config, configMap: {name: {{ include "gaff.name" . }}}}
    {{- if .Values.workflows }}
    - {name: workflows, configMap: {name: {{ include "gaff.name" . }}-workflows}}
    {{- end }}
    {{- with .Values.volumes }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.affinity }}
  affinity: {{ toYaml .Values.affinity | nindent 4 }}
  {{- else if eq .Values.store "postgres" }}
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels: {{ include "gaff.selector" . | nindent 16 }}
  {{- end }}
{{- end }}
