// Command deploycheck checks the files of deploy/ without a cluster and without docker.
//
//	deploycheck chart FOLDER [VALUES]     renders the chart with Helm's engine, decodes each object
//	                                      strictly as its Kubernetes type, and prints them
//	deploycheck pod FOLDER [VALUES]       prints what "podman kube play" runs of it: the pod, on the
//	                                      network of this machine, with an empty volume
//	deploycheck compose FILE              loads a compose file as docker compose does, with the
//	                                      environment, and prints it as JSON
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) >= 2 && args[0] == "chart":
		err = chart(args[1], append(args[2:], "")[0], printObject)
	case len(args) >= 2 && args[0] == "pod":
		err = chart(args[1], append(args[2:], "")[0], printPod)
	case len(args) == 2 && args[0] == "compose":
		err = compose(args[1])
	default:
		err = errors.New("usage: deploycheck chart|pod FOLDER [VALUES] | compose FILE")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "deploycheck:", err)
		os.Exit(1)
	}
}

// kinds are the objects that the chart may make. A ServiceMonitor's type is not Kubernetes' own.
var kinds = map[string]func() any{
	"v1/ConfigMap": func() any { return new(core.ConfigMap) }, "v1/Service": func() any { return new(core.Service) },
	"v1/ServiceAccount":   func() any { return new(core.ServiceAccount) },
	"apps/v1/StatefulSet": func() any { return new(apps.StatefulSet) }, "apps/v1/Deployment": func() any { return new(apps.Deployment) },
	"policy/v1/PodDisruptionBudget":           func() any { return new(policy.PodDisruptionBudget) },
	"networking.k8s.io/v1/Ingress":            func() any { return new(networking.Ingress) },
	"monitoring.coreos.com/v1/ServiceMonitor": func() any { return new(map[string]any) },
}

// chart renders the chart, and calls print with each object and its text.
func chart(dir, valuesFile string, print func(object any, text string) error) error {
	c, err := loader.Load(dir)
	if err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	given := chartutil.Values{}
	if valuesFile != "" {
		if given, err = chartutil.ReadValuesFile(valuesFile); err != nil {
			return err
		}
	}
	values, err := chartutil.ToRenderValues(c, given, chartutil.ReleaseOptions{Name: "hooks", Namespace: "default", IsInstall: true, Revision: 1}, chartutil.DefaultCapabilities)
	if err != nil {
		return err
	}
	rendered, err := engine.Engine{Strict: true}.Render(c, values)
	if err != nil {
		return err
	}
	var names []string
	for name := range rendered {
		if filepath.Ext(name) == ".yaml" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, text := range strings.Split("\n"+rendered[name], "\n---\n") {
			if err := decode(text, print); err != nil {
				return fmt.Errorf("%s: %w\n%s", name, err, text)
			}
		}
	}
	return nil
}

// decode checks one object; a text with comments only has no object.
func decode(text string, print func(object any, text string) error) error {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal([]byte(text), &head); err != nil {
		return err
	}
	if head.Kind == "" {
		return nil
	}
	kind, ok := kinds[head.APIVersion+"/"+head.Kind]
	if !ok {
		return fmt.Errorf("unknown kind %s/%s", head.APIVersion, head.Kind)
	}
	object := kind()
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		return err
	}
	return print(object, text)
}

func printObject(_ any, text string) error {
	fmt.Printf("---\n%s\n", bytes.TrimSpace([]byte(text)))
	return nil
}

// printPod prints configuration and pod of the chart. podman runs HTTP probes with the image's curl,
// which this image lacks, and makes no volumes of claims.
func printPod(object any, text string) error {
	switch o := object.(type) {
	case *core.ConfigMap:
		return printObject(object, text)
	case *apps.StatefulSet:
		pod := &core.Pod{ObjectMeta: o.Spec.Template.ObjectMeta, Spec: o.Spec.Template.Spec}
		pod.APIVersion, pod.Kind, pod.Name = "v1", "Pod", o.Name
		pod.Spec.HostNetwork = true
		pod.Spec.Volumes = append(pod.Spec.Volumes, core.Volume{Name: "data", VolumeSource: core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{}}})
		for i := range pod.Spec.Containers {
			c := &pod.Spec.Containers[i]
			c.Ports, c.LivenessProbe, c.ReadinessProbe, c.StartupProbe = nil, nil, nil, nil
		}
		out, err := yaml.Marshal(pod)
		if err != nil {
			return err
		}
		return printObject(object, string(out))
	}
	return nil
}

func compose(file string) error {
	o, err := cli.NewProjectOptions([]string{file}, cli.WithOsEnv, cli.WithWorkingDirectory(filepath.Dir(file)))
	if err != nil {
		return err
	}
	project, err := o.LoadProject(context.Background())
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(project, "", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", text)
	return nil
}
