// Package check checks the deployment files against the real schemas and against what
// they promise.
package check

import (
	"bytes"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// build returns what kubectl kustomize would print.
func build(t *testing.T, dir string) []byte {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	require.NoError(t, err)
	text, err := resources.AsYaml()
	require.NoError(t, err)
	return text
}

func TestManifestsFitTheirSchemas(t *testing.T) {
	v, err := validator.New([]string{"schemas/{{.ResourceKind}}{{.KindSuffix}}.json"}, validator.Opts{Strict: true})
	require.NoError(t, err)
	for dir, want := range map[string][]string{
		"../kubernetes/base":      {"ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodMonitor"},
		"../kubernetes/openshift": {"ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodMonitor"},
		"../kubernetes/keda":      {"ConfigMap", "Deployment", "NetworkPolicy", "PodMonitor", "ScaledObject"},
	} {
		var kinds []string
		for _, result := range v.Validate(dir, io.NopCloser(bytes.NewReader(build(t, dir)))) {
			require.NoError(t, result.Err, "%s", result.Resource.Bytes)
			require.Equal(t, validator.Valid, result.Status)
			signature, err := result.Resource.Signature()
			require.NoError(t, err)
			kinds = append(kinds, signature.Kind)
		}
		slices.Sort(kinds)
		require.Equal(t, want, kinds)
	}
	// A schema that accepts everything would prove nothing.
	wrong := bytes.Replace(build(t, "../kubernetes/base"), []byte("restartPolicy: Always"), []byte("restartPolici: Always"), 1)
	faults := 0
	for _, result := range v.Validate("", io.NopCloser(bytes.NewReader(wrong))) {
		if result.Status == validator.Invalid {
			faults++
		}
	}
	require.Equal(t, 1, faults)
}

// A manifest has the parts of a Deployment and a ConfigMap that are checked here.
type manifest struct {
	Kind string
	Data map[string]string
	Spec struct {
		Template struct {
			Spec struct {
				TerminationGracePeriodSeconds int
				InitContainers, Containers    []container
			}
		}
	}
}

type container struct {
	Name, RestartPolicy                         string
	Args                                        []string
	Env                                         []struct{ Name string }
	StartupProbe, LivenessProbe, ReadinessProbe *struct{ HTTPGet struct{ Path string } }
	Lifecycle                                   struct {
		PreStop struct {
			HTTPGet struct {
				Path string
				Port int
			}
		}
	}
}

// The base keeps its promises: probes that cannot deadlock, a drain before the model
// server ends, periods that add up, and a model server on loopback.
func TestWorkerManifest(t *testing.T) {
	var usher, model container
	var grace int
	var values map[string]string
	for document := range strings.SplitSeq(string(build(t, "../kubernetes/base")), "\n---\n") {
		var m manifest
		require.NoError(t, yaml.Unmarshal([]byte(document), &m))
		switch m.Kind {
		case "ConfigMap":
			values = m.Data
		case "Deployment":
			usher, model = m.Spec.Template.Spec.InitContainers[0], m.Spec.Template.Spec.Containers[0]
			grace = m.Spec.Template.Spec.TerminationGracePeriodSeconds
		}
	}
	require.Equal(t, "Always", usher.RestartPolicy)
	require.Equal(t, "/livez", usher.StartupProbe.HTTPGet.Path)
	require.Equal(t, "/livez", usher.LivenessProbe.HTTPGet.Path)
	require.Equal(t, "/readyz", usher.ReadinessProbe.HTTPGet.Path)
	require.Equal(t, "/prestop", model.Lifecycle.PreStop.HTTPGet.Path)
	require.Equal(t, 9090, model.Lifecycle.PreStop.HTTPGet.Port, "a name would be looked up in the model server's own ports")
	require.Contains(t, strings.Join(model.Args, " "), "--host 127.0.0.1")
	require.Equal(t, "vllm", values["USHER_ENGINE"]) // which listens on 127.0.0.1:8000
	require.NotContains(t, values, "USHER_UPSTREAM_URL")

	drain := seconds(t, values["USHER_DRAIN_DELAY"]) + seconds(t, values["USHER_DRAIN_TIMEOUT"])
	require.GreaterOrEqual(t, float64(grace), drain+25, "preStop waits for the drain, and the model server has time after it")

	for _, e := range usher.Env {
		values[e.Name] = ""
	}
	requireKnown(t, values)
}

func seconds(t *testing.T, text string) float64 {
	t.Helper()
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d.Seconds()
}

// settings returns the variables that Usher reads, as its binary lists them: its
// packages are not imported, so that this module does not need their dependencies.
var settings = sync.OnceValues(func() (map[string]bool, error) {
	out, err := exec.Command("go", "-C", "../..", "run", "./cmd/usher", "settings").Output()
	known := map[string]bool{}
	for _, name := range regexp.MustCompile(`USHER_[A-Z0-9_]+`).FindAllString(string(out), -1) {
		known[name] = true
	}
	return known, err
})

// requireKnown fails if there is a variable that Usher does not read.
func requireKnown[V any](t *testing.T, variables map[string]V) {
	t.Helper()
	known, err := settings()
	require.NoError(t, err)
	require.Contains(t, known, "USHER_ENDPOINT")
	for name := range variables {
		if strings.HasPrefix(name, "USHER_") {
			require.True(t, known[name], "%s is no setting", name)
		}
	}
}
