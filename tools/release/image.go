package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
	"time"
)

// user is the id that the image's process has.
const user = 65532

const (
	dataDir   = "/var/lib/gaff"
	configDir = "/etc/gaff"
)

// image makes an OCI image of all Linux targets, as an archive that docker, podman and skopeo read.
// It has nothing but the binary, certificates and empty folders.
func (r *release) image(context.Context) error {
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	found := false
	for _, t := range r.targets {
		if t.os != "linux" {
			continue
		}
		img, err := r.imageOf(t)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			MediaType: types.OCIManifestSchema1,
			Platform:  &v1.Platform{OS: t.os, Architecture: t.arch},
		}})
		found = true
	}
	if !found {
		return nil
	}
	dir, err := os.MkdirTemp("", "gaff-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	name := "gaff:" + r.number()
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": r.number(), "io.containerd.image.name": "localhost/" + name,
	})); err != nil {
		return err
	}
	return packLayout(r.made("gaff-"+r.number()+"-image.tar"), dir, r.date)
}

// packLayout packs a folder, its files in order.
func packLayout(name, dir string, date time.Time) error {
	var entries []entry
	if err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		inside, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		e := entry{name: filepath.ToSlash(inside), path: p, mode: 0o644}
		if d.IsDir() {
			e.mode = fs.ModeDir | 0o755
		}
		entries = append(entries, e)
		return nil
	}); err != nil {
		return err
	}
	return create(name, func(w io.Writer) error { return writeTar(w, date, entries) })
}

func (r *release) imageOf(t target) (v1.Image, error) {
	base := []entry{
		{name: "etc", mode: fs.ModeDir | 0o755}, {name: "etc/gaff", mode: fs.ModeDir | 0o755},
		{name: "etc/group", data: []byte("root:x:0:\ngaff:x:65532:\n"), mode: 0o644},
		{name: "etc/passwd", data: []byte("root:x:0:0:root:/:/sbin/nologin\ngaff:x:65532:65532:gaff:/var/lib/gaff:/sbin/nologin\n"), mode: 0o644},
		{name: "etc/ssl", mode: fs.ModeDir | 0o755}, {name: "etc/ssl/certs", mode: fs.ModeDir | 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", data: certificates(), mode: 0o644},
		{name: "tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{name: "var", mode: fs.ModeDir | 0o755}, {name: "var/lib", mode: fs.ModeDir | 0o755},
		{name: "var/lib/gaff", mode: fs.ModeDir | 0o700, uid: user},
	}
	binary := []entry{{name: "usr", mode: fs.ModeDir | 0o755}, {name: "usr/bin", mode: fs.ModeDir | 0o755}, {name: "usr/bin/gaff", path: r.binaries[t], mode: 0o755}}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, entries := range [][]entry{base, binary} {
		var b bytes.Buffer
		if err := writeTar(&b, r.date, entries); err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
			tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: v1.Time{Time: r.date}, CreatedBy: "make release"}}); err != nil {
			return nil, err
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = t.os, t.arch, v1.Time{Time: r.date}
	file.Config = v1.Config{
		User: "65532:65532", WorkingDir: configDir, Entrypoint: []string{"/usr/bin/gaff"}, Cmd: []string{"serve"},
		Env:          []string{"PATH=/usr/bin", "HOME=" + dataDir, "GAFF_DATA_DIR=" + dataDir},
		ExposedPorts: map[string]struct{}{"3000/tcp": {}}, Volumes: map[string]struct{}{dataDir: {}}, StopSignal: "SIGTERM",
		// docker runs it; Kubernetes has probes of its own, podman that of the compose file.
		Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/usr/bin/gaff", "health"}, Interval: 30 * time.Second, Timeout: 6 * time.Second, StartPeriod: 10 * time.Second, Retries: 3},
		Labels: map[string]string{
			"org.opencontainers.image.title": "gaff", "org.opencontainers.image.version": r.number(), "org.opencontainers.image.revision": r.commit,
			"org.opencontainers.image.created": r.date.Format(time.RFC3339), "org.opencontainers.image.licenses": "MIT",
			"org.opencontainers.image.description": "Gateway for inbound webhooks of asynchronous services",
		},
	}
	return mutate.ConfigFile(img, file)
}

// certificates are Mozilla's roots, of the version that go.mod names. Roots that Mozilla trusts in
// part only are left out: a file of certificates cannot express that.
func certificates() []byte {
	var blocks [][]byte
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			blocks = append(blocks, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	slices.SortFunc(blocks, bytes.Compare)
	return bytes.Join(blocks, nil)
}
