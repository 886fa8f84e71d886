// Schemas writes the JSON schemas that the manifests are checked against, taken from
// the modules that define them:
//
//	cd deploy/check && go run ./schemas
//
// They are checked in, so that a check needs none of these large modules. Descriptions
// are left out, and unknown members are made errors.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// kinds are the kinds that the manifests use, each with the file for its schema.
var kinds = []struct{ file, module, path, component string }{
	{"deployment-apps-v1", kubernetes, "apis__apps__v1", "io.k8s.api.apps.v1.Deployment"},
	{"configmap-v1", kubernetes, "api__v1", "io.k8s.api.core.v1.ConfigMap"},
	{"networkpolicy-networking-v1", kubernetes, "apis__networking.k8s.io__v1", "io.k8s.api.networking.v1.NetworkPolicy"},
	{"horizontalpodautoscaler-autoscaling-v2", kubernetes, "apis__autoscaling__v2", "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"},
	{"podmonitor-monitoring-v1", "github.com/prometheus-operator/prometheus-operator@v0.85.0",
		"example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml", ""},
	{"scaledobject-keda-v1alpha1", "github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases/keda.sh_scaledobjects.yaml", ""},
}

const kubernetes = "k8s.io/kubernetes@v1.34.1"

func main() {
	for _, k := range kinds {
		if err := write(k.file, k.module, k.path, k.component); err != nil {
			log.Fatalf("%s: %v", k.file, err)
		}
	}
}

func write(file, module, path, component string) error {
	dir, err := download(module)
	if err != nil {
		return err
	}
	var schema map[string]any
	if component != "" {
		schema, err = fromOpenAPI(filepath.Join(dir, "api/openapi-spec/v3", path+"_openapi.json"), component)
	} else {
		schema, err = fromCRD(filepath.Join(dir, path))
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(strict(schema))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("schemas", file+".json"), append(text, '\n'), 0o644)
}

// download fetches a module with the go command and returns its folder.
func download(module string) (dir string, err error) {
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", err
	}
	var said struct{ Dir string }
	err = json.Unmarshal(out, &said)
	return said.Dir, err
}

// fromOpenAPI returns one component and all that it refers to.
func fromOpenAPI(path, component string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var document struct {
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	used := map[string]any{}
	var take func(name string)
	var follow func(v any)
	take = func(name string) {
		if _, done := used[name]; !done {
			used[name] = document.Components.Schemas[name]
			follow(used[name])
		}
	}
	follow = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				take(strings.TrimPrefix(ref, "#/components/schemas/"))
			}
			for _, child := range v {
				follow(child)
			}
		case []any:
			for _, child := range v {
				follow(child)
			}
		}
	}
	take(component)
	return map[string]any{
		"$ref":       "#/components/schemas/" + component,
		"components": map[string]any{"schemas": used},
	}, nil
}

// fromCRD returns the schema of a custom resource's last version.
func fromCRD(path string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return nil, err
	}
	if len(crd.Spec.Versions) == 0 {
		return nil, fmt.Errorf("%s has no version", path)
	}
	return crd.Spec.Versions[len(crd.Spec.Versions)-1].Schema.OpenAPIV3Schema, nil
}

// strict removes descriptions and makes unknown members errors, except in an object
// without members of its own, such as metadata in a custom resource.
func strict(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, child := range v {
			switch {
			case name == "description" && isText(child):
			case strings.HasPrefix(name, "x-kubernetes-"):
			case name == "format" || name == "default":
			case name == "type" && v["nullable"] == true:
				out[name] = []any{child, "null"}
			default:
				out[name] = strict(child)
			}
		}
		properties, ok := v["properties"].(map[string]any)
		if _, open := v["additionalProperties"]; ok && len(properties) > 0 && isType(v, "object") && !open && v["x-kubernetes-preserve-unknown-fields"] != true {
			out["additionalProperties"] = false
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = strict(child)
		}
		return out
	}
	return v
}

func isText(v any) bool { _, ok := v.(string); return ok }

func isType(v map[string]any, name string) bool { return v["type"] == name }
