package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// podOf returns the Pod of the Deployment that a folder makes.
func podOf(t *testing.T, dir string) map[string]any {
	t.Helper()
	for document := range strings.SplitSeq(string(build(t, dir)), "\n---\n") {
		var m struct {
			Kind string
			Spec struct {
				Template struct{ Spec map[string]any }
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &m))
		if m.Kind == "Deployment" {
			return m.Spec.Template.Spec
		}
	}
	require.FailNow(t, "no Deployment")
	return nil
}

// notRestricted lists what OpenShift's security context constraint restricted-v2 would
// reject. Users and groups must be in the range of the namespace, which is not known in
// advance, so the Pod must not set them.
func notRestricted(pod map[string]any) (faults []string) {
	note := func(wrong bool, what string) {
		if wrong {
			faults = append(faults, what)
		}
	}
	for _, host := range []string{"hostNetwork", "hostPID", "hostIPC"} {
		note(pod[host] == true, host)
	}
	context, _ := pod["securityContext"].(map[string]any)
	for _, name := range []string{"runAsUser", "fsGroup", "supplementalGroups", "seLinuxOptions"} {
		note(context[name] != nil, name)
	}
	for _, v := range items(pod["volumes"]) {
		for kind := range v {
			note(kind != "name" && !slices.Contains([]string{
				"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
			}, kind), "volume "+kind)
		}
	}
	for _, c := range append(items(pod["initContainers"]), items(pod["containers"])...) {
		for _, p := range items(c["ports"]) {
			note(p["hostPort"] != nil, "hostPort")
		}
		context, _ := c["securityContext"].(map[string]any)
		for _, name := range []string{"runAsUser", "seLinuxOptions", "procMount"} {
			note(context[name] != nil, name)
		}
		note(context["privileged"] == true, "privileged")
		note(context["allowPrivilegeEscalation"] == true, "allowPrivilegeEscalation")
		capabilities, _ := context["capabilities"].(map[string]any)
		note(capabilities["add"] != nil, "capabilities")
		profile, _ := context["seccompProfile"].(map[string]any)
		note(profile != nil && profile["type"] != "RuntimeDefault", "seccompProfile")
	}
	return faults
}

func items(list any) (maps []map[string]any) {
	all, _ := list.([]any)
	for _, item := range all {
		if m, ok := item.(map[string]any); ok {
			maps = append(maps, m)
		}
	}
	return maps
}

// restricted-v2 accepts the worker, which then has its Pod's address. Of the base it
// rejects only the host port. Neither reads the variables of service links.
func TestRestricted(t *testing.T) {
	require.Equal(t, []string{"hostPort"}, notRestricted(podOf(t, "../kubernetes/base")))
	pod := podOf(t, "../kubernetes/openshift")
	require.Empty(t, notRestricted(pod))
	for _, dir := range []string{"../kubernetes/base", "../kubernetes/openshift", "../kubernetes/keda"} {
		require.Equal(t, false, podOf(t, dir)["enableServiceLinks"], dir)
	}
	usher, model := items(pod["initContainers"])[0], items(pod["containers"])[0]
	variables := items(usher["env"])
	require.Equal(t, "POD_IP", variables[0]["name"], "it is expanded in what comes after it")
	require.Equal(t, map[string]any{"name": "USHER_WORKER_URL", "value": "http://$(POD_IP):3000"}, variables[1])
	require.Equal(t, "/models", items(model["env"])[0]["value"])
	require.Equal(t, "/models", items(model["volumeMounts"])[0]["mountPath"])

	// A check that accepts everything would prove nothing.
	pod["hostNetwork"] = true
	pod["securityContext"] = map[string]any{"fsGroup": 65532}
	pod["volumes"] = append(pod["volumes"].([]any), map[string]any{"name": "x", "hostPath": map[string]any{"path": "/"}})
	usher["securityContext"].(map[string]any)["runAsUser"] = 65532
	require.Equal(t, []string{"hostNetwork", "fsGroup", "volume hostPath", "runAsUser"}, notRestricted(pod))
}
