// Command release makes the packages of gaff: binaries, archives, Debian and RPM packages, an OCI
// image, bills of materials and checksums. Everything in them comes from the commit, so that a
// second run makes the same bytes. It uploads nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// target is a system that binaries are made for.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

var allTargets = []target{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"},
}

// release is one run.
type release struct {
	root, out string
	version   string // such as v1.2.0
	commit    string
	date      time.Time // of the commit, and of every file in every package
	sign      string
	targets   []target
	binaries  map[target]string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	r := &release{binaries: map[target]string{}}
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.root, "root", ".", "the checkout")
	flags.StringVar(&r.out, "out", "dist", "the folder to fill; its contents are removed")
	flags.StringVar(&r.version, "version", "", "the version, such as v1.2.0")
	flags.StringVar(&r.sign, "sign", "", "a command that signs SHA256SUMS, whose path is added to it")
	targets := flags.String("targets", "", "only these, such as linux/amd64,darwin/arm64")
	dirty := flags.Bool("dirty", false, "accept a checkout with changes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := r.prepare(ctx, *targets, *dirty); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"binaries", r.build}, {"archives", r.archives}, {"packages", r.packages}, {"image", r.image},
		{"files to deploy", r.deployment}, {"bills of materials", r.sboms}, {"checksums", r.sums},
	} {
		began := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Printf("%s (%s)\n", step.name, time.Since(began).Round(100*time.Millisecond))
	}
	return r.list()
}

// versionForm is what packages of all kinds can say.
var versionForm = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z]+(\.[0-9A-Za-z]+)*)?$`)

func (r *release) prepare(ctx context.Context, targets string, dirty bool) error {
	if !versionForm.MatchString(r.version) {
		return fmt.Errorf("version %q: want one such as v1.2.0 or v1.2.0-rc.1 (make release VERSION=v1.2.0)", r.version)
	}
	var err error
	if r.root, err = filepath.Abs(r.root); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	if r.targets, err = choose(targets); err != nil {
		return err
	}
	changes, err := r.git(ctx, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" && !dirty {
		return fmt.Errorf("the checkout has changes: commit them first\n%s", changes)
	}
	if r.commit, err = r.git(ctx, "rev-parse", "HEAD"); err != nil {
		return err
	}
	date, err := r.git(ctx, "log", "-1", "--format=%cI")
	if err != nil {
		return err
	}
	if r.date, err = time.Parse(time.RFC3339, date); err != nil {
		return err
	}
	r.date = r.date.UTC()
	return r.empty()
}

// choose parses a list of targets; empty is all.
func choose(text string) (chosen []target, err error) {
	if text == "" {
		return allTargets, nil
	}
	for _, name := range strings.Split(text, ",") {
		i := slices.IndexFunc(allTargets, func(t target) bool { return t.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown target %q: want some of %v", name, allTargets)
		}
		chosen = append(chosen, allTargets[i])
	}
	return chosen, nil
}

// mark is in each folder that this command made, so that it removes nothing else.
const mark = ".gaff-release"

func (r *release) empty() error {
	entries, err := os.ReadDir(r.out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(r.out, mark)); err != nil {
			return fmt.Errorf("%s has other files: name an empty folder", r.out)
		}
		if err := os.RemoveAll(r.out); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, mark), nil, 0o644)
}

func (r *release) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stderr = r.root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// number is the version without its v.
func (r *release) number() string { return strings.TrimPrefix(r.version, "v") }

// file is the path of a file in the root, and made one in the folder that is filled.
func (r *release) file(name ...string) string {
	return filepath.Join(append([]string{r.root}, name...)...)
}
func (r *release) made(name ...string) string {
	return filepath.Join(append([]string{r.out}, name...)...)
}

// build compiles the binaries.
func (r *release) build(ctx context.Context) error {
	dir := r.made("bin")
	inlining, err := r.inlining()
	if err != nil {
		return err
	}
	for _, t := range r.targets {
		name := "gaff-" + t.os + "-" + t.arch
		if t.os == "windows" {
			name += ".exe"
		}
		path := filepath.Join(dir, name)
		stamp := "gaff/internal/buildinfo"
		if module, err := r.goTool(ctx, target{}, "list", "./internal/buildinfo"); err == nil {
			stamp = strings.TrimSpace(module)
		}
		flags := fmt.Sprintf("-s -w -funcalign=16 -buildid= -X %[1]s.version=%[2]s -X %[1]s.commit=%[3]s -X %[1]s.date=%[4]s",
			stamp, r.version, r.commit, r.date.Format("2006-01-02T15:04:05Z"))
		// Time zones are in the binary: an image from scratch and Windows have none.
		args := []string{"build", "-trimpath", "-buildvcs=false", "-tags", "nopgxregisterdefaulttypes,timetzdata"}
		if _, err := r.goTool(ctx, t, append(append(args, inlining...), "-ldflags", flags, "-o", path, "./cmd/gaff")...); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		r.binaries[t] = path
	}
	return nil
}

// inlining returns the flags that choose the packages to compile with inlining, as the Makefile does.
func (r *release) inlining() ([]string, error) {
	text, err := os.ReadFile(r.file("tools", "warm-packages"))
	if err != nil {
		return nil, err
	}
	flags := []string{"-gcflags=all=-l"}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			flags = append(flags, "-gcflags="+line)
		}
	}
	return flags, nil
}

func (r *release) goTool(ctx context.Context, t target, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = r.root, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOWORK=off", "GOFIPS140=off")
	if t.os != "" {
		cmd.Env = append(cmd.Env, "GOOS="+t.os, "GOARCH="+t.arch)
	}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return string(out), nil
}

// list prints the files that were made.
func (r *release) list() error {
	return filepath.WalkDir(r.out, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == mark {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(r.out, path)
		fmt.Printf("%12d  %s\n", info.Size(), name)
		return err
	})
}
