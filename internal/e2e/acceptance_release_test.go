//go:build acceptance

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"gaff/internal/eventually"
)

// releaseVersion is that of the packages under test.
const releaseVersion = "0.0.1"

// makeRelease makes the Linux packages of the commit, from a clone in a folder of the given name.
func makeRelease(t *testing.T, name string) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	clone := filepath.Join(t.TempDir(), name)
	runIn(t, root, nil, "git", "clone", "--quiet", "--shared", root, clone)
	runIn(t, clone, []string{"GOFLAGS="}, "make", "release", "VERSION=v"+releaseVersion, "TARGETS=linux/amd64", "SIGN=sha256sum --tag")
	return filepath.Join(clone, "dist")
}

// TestAcceptanceRelease installs what "make release" makes, as far as one machine without systemd can.
func TestAcceptanceRelease(t *testing.T) {
	if out, _ := exec.Command("uname", "-m").Output(); strings.TrimSpace(string(out)) != "x86_64" {
		t.Skip("the packages are made for amd64")
	}
	dist := makeRelease(t, "one")
	t.Run("second build has the same bytes", func(t *testing.T) {
		again := makeRelease(t, "another-folder")
		for _, name := range []string{"SHA256SUMS"} {
			one, err := os.ReadFile(filepath.Join(dist, name))
			if err != nil {
				t.Fatal(err)
			}
			other, err := os.ReadFile(filepath.Join(again, name))
			if err != nil || !bytes.Equal(one, other) {
				t.Errorf("%s differs (%v):\n%s\n%s", name, err, one, other)
			}
		}
	})
	t.Run("checksums hold", func(t *testing.T) { runIn(t, dist, nil, "sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS") })
	t.Run("bill of materials names the modules", func(t *testing.T) {
		text, err := os.ReadFile(filepath.Join(dist, "gaff-"+releaseVersion+"-linux-amd64.cdx.json"))
		if err != nil || !strings.Contains(string(text), "pkg:golang/github.com/jackc/pgx/v5@v5.") {
			t.Errorf("pgx is missing (%v)", err)
		}
	})
	t.Run("RPM package has the files of the Debian package", func(t *testing.T) { samePackages(t, dist) })
	t.Run("Debian package", func(t *testing.T) { debian(t, dist) })
	t.Run("image", func(t *testing.T) { image(t, dist) })
}

func samePackages(t *testing.T, dist string) {
	deb := runIn(t, dist, nil, "dpkg-deb", "--fsys-tarfile", "gaff_"+releaseVersion+"-1_amd64.deb")
	list := exec.Command("tar", "-t")
	list.Stdin = strings.NewReader(deb)
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for name := range strings.Lines(string(out)) {
		if name = strings.TrimPrefix(strings.TrimSpace(name), "."); !strings.HasSuffix(name, "/") {
			want = append(want, name)
		}
	}
	got := runIn(t, dist, nil, "rpm", "-qlp", "gaff-"+releaseVersion+"-1.x86_64.rpm")
	for _, name := range want {
		if !strings.Contains(got, name+"\n") {
			t.Errorf("the RPM package lacks %s", name)
		}
	}
}

// debian checks the unit, and runs its ExecStart by hand.
func debian(t *testing.T, dist string) {
	root := t.TempDir()
	runIn(t, dist, nil, "dpkg-deb", "-x", "gaff_"+releaseVersion+"-1_amd64.deb", root)
	text, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/gaff.service"))
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "gaff.service")
	bin := filepath.Join(root, "usr/bin/gaff")
	if err := os.WriteFile(unit, bytes.ReplaceAll(text, []byte("/usr/bin/gaff"), []byte(bin)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := runIn(t, root, nil, "systemd-analyze", "verify", unit); strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	out := runIn(t, root, nil, "systemd-analyze", "security", "--offline=true", unit)
	found := regexp.MustCompile(`Overall exposure level for gaff.service: ([0-9.]+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no score in %s", out)
	}
	if score, err := strconv.ParseFloat(found[1], 64); err != nil || score > 1.5 {
		t.Errorf("systemd's exposure level is %s (%v), want at most 1.5", found[1], err)
	}
	t.Logf("systemd's exposure level: %s of 10", found[1])

	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	env := append(environment(t.TempDir(), addr), unitEnvironment(t, text)...)
	env = append(env, "GAFF_DATA_DIR="+t.TempDir()) // in place of the unit's, which needs its user
	start := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindSubmatch(text)
	command := strings.Fields(strings.ReplaceAll(string(start[1]), "/usr/bin/gaff", bin))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = filepath.Join(root, "etc/gaff"), env
	webhookTo(t, addr, cmd)
}

// unitEnvironment returns the variables that a unit sets.
func unitEnvironment(t *testing.T, unit []byte) (env []string) {
	t.Helper()
	for lines := bufio.NewScanner(bytes.NewReader(unit)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "Environment="); ok {
			env = append(env, value)
		}
	}
	return env
}

// webhookTo starts a gateway by a command, and sends it signed webhooks.
func webhookTo(t *testing.T, addr string, cmd *exec.Cmd) {
	t.Helper()
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-done
		if t.Failed() {
			t.Log(log.String())
		}
	})
	receives(t, addr)
}

// receives checks that the gateway at an address takes signed webhooks.
func receives(t *testing.T, addr string) {
	t.Helper()
	url := "http://" + addr
	eventually.True(t, "the gateway is ready", func() bool {
		resp, err := http.Get(url + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	for n := range 3 {
		if _, duplicate, err := send(t.Context(), http.DefaultClient, url, makeWebhook(fmt.Sprint("installed-", n), n)); err != nil || duplicate {
			t.Errorf("a signed webhook: duplicate %v, %v", duplicate, err)
		}
	}
}

// podmanSettings also work within another container, where limits cannot be raised.
const podmanSettings = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`

// podman returns a function that makes podman's commands.
func podman(t *testing.T) func(args ...string) *exec.Cmd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "containers.conf")
	if err := os.WriteFile(file, []byte(podmanSettings), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command("podman", args...)
		cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+file)
		return cmd
	}
}

// image loads the image, and runs it as compose.yaml does: read-only, without rights.
func image(t *testing.T, dist string) {
	podman := podman(t)
	archive := filepath.Join(dist, "gaff-"+releaseVersion+"-image.tar")
	if out, err := podman("load", "-i", archive).CombinedOutput(); err != nil {
		t.Logf("podman cannot load an image on this machine: %v\n%s", err, out)
		unpacked(t, archive)
		return
	}
	name := "localhost/gaff:" + releaseVersion
	t.Cleanup(func() { _ = podman("rmi", "--force", name).Run() })
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	container := "gaff-acceptance-" + strings.ReplaceAll(addr, ":", "-")
	run := func(more ...string) *exec.Cmd {
		args := []string{
			"run", "--rm", "--network", "host", "--read-only", "--read-only-tmpfs=false",
			"--tmpfs", "/tmp:size=16m,mode=1777", "--cap-drop", "all", "--security-opt", "no-new-privileges",
		}
		return podman(append(args, more...)...)
	}
	out, err := run(name, "version").CombinedOutput()
	if err != nil && cannotContain.Match(out) {
		t.Logf("containers do not run on this machine: %s", out)
		unpacked(t, archive)
		return
	}
	if err != nil || !strings.Contains(string(out), "v"+releaseVersion) {
		t.Fatalf("run: %v\n%s", err, out)
	}
	args := []string{"--name", container, "--volume", container + ":/var/lib/gaff"}
	for _, variable := range environment("/var/lib/gaff", addr, "GAFF_DATA_DIR=/var/lib/gaff") {
		if !strings.HasPrefix(variable, "PATH=") {
			args = append(args, "--env", variable)
		}
	}
	t.Cleanup(func() { _ = podman("volume", "rm", "--force", container).Run() })
	webhookTo(t, addr, run(append(args, name)...))
	if out, err := podman("exec", container, "/usr/bin/gaff", "health").CombinedOutput(); err != nil || !strings.Contains(string(out), "true") {
		t.Errorf("the health check: %v\n%s", err, out)
	}
	if out, err := podman("top", container, "user").CombinedOutput(); err != nil || !strings.Contains(string(out), "gaff") {
		t.Errorf("the user of the process: %v\n%s", err, out)
	}
	t.Run("pod of the chart", func(t *testing.T) { chartPod(t, podman) })
}

// cannotContain matches what podman says on machines that allow no containers, such as containers.
var cannotContain = regexp.MustCompile(`(?i)OCI|runc|namespace|cgroup|permission denied|operation not permitted`)

// unpacked checks the contents of an image that cannot be run.
func unpacked(t *testing.T, archive string) {
	dir := t.TempDir()
	runIn(t, dir, nil, "tar", "-xf", archive)
	for _, name := range []string{"index.json", "oci-layout"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// chartPod plays the pod of the chart without a cluster.
func chartPod(t *testing.T, podman func(...string) *exec.Cmd) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	values, pod := filepath.Join(dir, "values.yaml"), filepath.Join(dir, "pod.yaml")
	text := fmt.Sprintf("image: {tag: %s}\nworkflows: {}\nconfig: {log_level: info}\nenv: {FAL_WEBHOOK_SECRET: %s, WEBHOOK_SECRET: %s, GAFF_ADMIN_TOKEN: %s, GAFF_ADDR: %q, GAFF_MEDIA_URL: \"off\"}\n",
		releaseVersion, falSecret, customSecret, adminToken, addr)
	if err := os.WriteFile(values, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := deployCheck(t, nil, "pod", deployFile("helm", "gaff"), values)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(pod, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = podman("kube", "down", pod).Run() })
	if out, err := podman("kube", "play", pod).CombinedOutput(); err != nil {
		t.Fatalf("podman kube play: %v\n%s", err, out)
	}
	receives(t, addr)
}

// deployChecker builds tools/deploycheck, beside the gateway's binary.
var deployChecker = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(filepath.Dir(binary), "deploycheck")
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, ".")
	cmd.Dir, cmd.Env = filepath.Join("..", "..", "tools", "deploycheck"), append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build deploycheck: %w\n%s", err, out)
	}
	return bin, nil
})

// deployCheck runs tools/deploycheck, which reads charts and compose files.
func deployCheck(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	bin, err := deployChecker()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func deployFile(name ...string) string {
	return filepath.Join(append([]string{"..", "..", "deploy"}, name...)...)
}

func TestAcceptanceChart(t *testing.T) {
	write := func(text string) string {
		t.Helper()
		name := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	postgres := `store: postgres
postgres: {existingSecret: gaff-db, mediaURL: "s3://films?region=eu-central-1"}
existingSecret: gaff
webhookBaseURL: https://hooks.example.com
trustedProxies: [10.0.0.0/8]
env: {GAFF_LOG_LEVEL: debug, GAFF_RECONCILE_RATE: 5}
config: {limits: {workers: 8}}
workflows: {storyboard.yaml: "name: storyboard\n"}
ingress: {enabled: true, className: nginx, tls: [{secretName: tls, hosts: [hooks.example.com]}]}
serviceMonitor: {enabled: true, tokenSecret: {name: gaff-metrics}}
podLabels: {team: media}
podAnnotations: {a: b}
tolerations: [{key: x, operator: Exists}]
`
	for name, c := range map[string]struct {
		values    string
		want, not []string
	}{
		"SQLite": {"", []string{"kind: StatefulSet", "replicas: 1", "volumeClaimTemplates", "path: /readyz", "readOnlyRootFilesystem: true"}, []string{"PodDisruptionBudget", "Ingress", "ServiceMonitor"}},
		"PostgreSQL": {
			postgres,
			[]string{"kind: Deployment", "replicas: 2", "kind: PodDisruptionBudget", "kind: ServiceMonitor", "GAFF_DATABASE_URL", "name: GAFF_ADMIN_ADDR", "- port: admin", "-gaff-admin", `value: "5"`},
			[]string{"StatefulSet"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := deployCheck(t, nil, "chart", deployFile("helm", "gaff"), write(c.values))
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, text := range c.want {
				if !strings.Contains(out, text) {
					t.Errorf("%q is missing in\n%s", text, out)
				}
			}
			for _, text := range c.not {
				if strings.Contains(out, text) {
					t.Errorf("%q is in\n%s", text, out)
				}
			}
		})
	}
	for values, want := range map[string]string{
		"store: postgres": "postgres.existingSecret", "store: mysql": "store", "postgres: {replicas: 0}": "replicas", "serviceMonitor: {enabled: true}": "tokenSecret",
		"{store: postgres, postgres: {existingSecret: a}}": "postgres.mediaURL",
	} {
		if out, err := deployCheck(t, nil, "chart", deployFile("helm", "gaff"), write(values)); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, want an error about %s\n%s", values, err, want, out)
		}
	}
}

func TestAcceptanceCompose(t *testing.T) {
	env := []string{"GAFF_VERSION=1", "GAFF_HOOKS=hooks.example.com", "GAFF_CONSOLE=console.example.com", "GAFF_ADMIN_TOKEN=x", "POSTGRES_PASSWORD=p"}
	for name, want := range map[string][]string{
		"compose.yaml":          {`"localhost/gaff:1"`, `"read_only": true`, `"published": "443"`, `"/usr/bin/gaff"`},
		"compose.postgres.yaml": {`"gaff1"`, `"gaff2"`, `"postgres://gaff:p@postgres:5432/gaff?sslmode=disable"`, `"gaff1:3000 gaff2:3000"`, `"gaff1:3001 gaff2:3001"`},
	} {
		out, err := deployCheck(t, env, "compose", deployFile(name))
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
			continue
		}
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("%s: %q is missing in\n%s", name, text, out)
			}
		}
		if out, err := deployCheck(t, nil, "compose", deployFile(name)); err == nil || !strings.Contains(out, "required variable") {
			t.Errorf("%s without its variables: %v\n%s", name, err, out)
		}
	}
}

// tcpPort returns the port of an address.
func tcpPort(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
