{{/* Objects of a release have its name; the policies have the name that the documentation gives them. */}}
{{- define "pannier.labels" -}}
app.kubernetes.io/name: pannier
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What selects the relay's pods. */}}
{{- define "pannier.relay" -}}
app.kubernetes.io/name: pannier
app.kubernetes.io/instance: {{ .Release.Name }}
pannier: relay
{{- end }}
