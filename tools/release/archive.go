package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// entry is a file of an archive.
type entry struct {
	name string // within the archive, with slashes
	path string // of the file; or
	data []byte
	mode fs.FileMode // with fs.ModeDir for a folder
	uid  int
}

func (e *entry) open() (io.ReadCloser, int64, error) {
	if e.path == "" {
		return io.NopCloser(strings.NewReader(string(e.data))), int64(len(e.data)), nil
	}
	f, err := os.Open(e.path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// writeTar writes the entries in their order, all of one time.
func writeTar(w io.Writer, date time.Time, entries []entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: int64(e.mode.Perm()), ModTime: date, Uid: e.uid, Gid: e.uid, Format: tar.FormatUSTAR}
		if e.mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
		if e.mode.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(e.name, "/")+"/"
			if err := t.WriteHeader(h); err != nil {
				return err
			}
			continue
		}
		r, size, err := e.open()
		if err != nil {
			return err
		}
		h.Typeflag, h.Size = tar.TypeReg, size
		if err = t.WriteHeader(h); err == nil {
			_, err = io.Copy(t, r)
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return t.Close()
}

func writeZip(w io.Writer, date time.Time, entries []entry) error {
	z := zip.NewWriter(w)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: date}
		h.SetMode(e.mode)
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		r, _, err := e.open()
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return z.Close()
}

// create writes a new file by fn.
func create(name string, fn func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(fn(f), f.Close())
}

// compress writes a tar archive through gzip.
func compress(name string, date time.Time, entries []entry) error {
	return create(name, func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
		if err != nil {
			return err
		}
		return errors.Join(writeTar(z, date, entries), z.Close())
	})
}

// papers are the documents of each archive.
var papers = []string{"CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md"}

// archives packs each binary with its documents.
func (r *release) archives(context.Context) error {
	for _, t := range r.targets {
		name := fmt.Sprintf("gaff-%s-%s-%s", r.number(), t.os, t.arch)
		binary := "gaff"
		if t.os == "windows" {
			binary += ".exe"
		}
		entries := []entry{{name: path.Join(name, binary), path: r.binaries[t], mode: 0o755}}
		for _, paper := range papers {
			entries = append(entries, entry{name: path.Join(name, paper), path: r.file(paper), mode: 0o644})
		}
		var err error
		if t.os == "windows" {
			err = create(r.made(name+".zip"), func(w io.Writer) error { return writeZip(w, r.date, entries) })
		} else {
			err = compress(r.made(name+".tar.gz"), r.date, entries)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deployment packs compose files, proxy examples, the unit and the chart.
func (r *release) deployment(context.Context) error {
	var all, chart []entry
	root := r.file("deploy")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		inside, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		e := entry{name: path.Join("gaff-deploy-"+r.number(), filepath.ToSlash(inside)), path: name, mode: 0o644}
		if inside, ok := strings.CutPrefix(filepath.ToSlash(inside), "helm/"); ok {
			c := e
			c.name = inside // begins with the chart's name
			if inside == "gaff/Chart.yaml" {
				if c.data, err = r.stampChart(name); err != nil {
					return err
				}
				c.path, e.data, e.path = "", c.data, ""
			}
			chart = append(chart, c)
		}
		all = append(all, e)
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(
		compress(r.made("gaff-deploy-"+r.number()+".tar.gz"), r.date, all),
		compress(r.made("gaff-chart-"+r.number()+".tgz"), r.date, chart),
	)
}

// stampChart puts the version into Chart.yaml, whose own is that of a checkout.
func (r *release) stampChart(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "version:"):
			lines[i] = "version: " + r.number()
		case strings.HasPrefix(line, "appVersion:"):
			lines[i] = `appVersion: "` + r.number() + `"`
		}
	}
	return []byte(strings.Join(lines, "\n")), nil
}
