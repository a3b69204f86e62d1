package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// sboms writes a CycloneDX bill of materials of each binary, from the list of modules that the Go
// linker put into it.
func (r *release) sboms(context.Context) error {
	for _, t := range r.targets {
		if err := r.sbom(t); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}

func (r *release) sbom(t target) error {
	info, err := buildinfo.ReadFile(r.binaries[t])
	if err != nil {
		return err
	}
	sum, err := hash(r.binaries[t])
	if err != nil {
		return err
	}
	main := cdx.Component{
		BOMRef: "gaff", Type: cdx.ComponentTypeApplication, Name: "gaff", Version: r.version,
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "MIT"}}},
		Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}},
	}
	components := []cdx.Component{{BOMRef: "std", Type: cdx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion, PackageURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		url := "pkg:golang/" + dep.Path + "@" + dep.Version
		c := cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: dep.Path, Version: dep.Version, PackageURL: url}
		if dep.Sum != "" {
			c.Properties = &[]cdx.Property{{Name: "go:sum", Value: dep.Sum}}
		}
		components = append(components, c)
	}
	refs := make([]string, len(components))
	for i, c := range components {
		refs[i] = c.BOMRef
	}
	bom := cdx.NewBOM()
	// Of the binary's own hash, so that a second build has the same.
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%s-%s-4%s-8%s-%s", sum[:8], sum[8:12], sum[13:16], sum[17:20], sum[20:32])
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.date.Format("2006-01-02T15:04:05Z"), Component: &main,
		Properties: &[]cdx.Property{{Name: "go:platform", Value: t.String()}, {Name: "git:commit", Value: r.commit}},
	}
	bom.Components, bom.Dependencies = &components, &[]cdx.Dependency{{Ref: "gaff", Dependencies: &refs}}
	return create(r.made(fmt.Sprintf("gaff-%s-%s-%s.cdx.json", r.number(), t.os, t.arch)), func(w io.Writer) error {
		return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	})
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sums writes SHA256SUMS, and has it signed.
func (r *release) sums(ctx context.Context) error {
	var lines []string
	if err := filepath.WalkDir(r.out, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == mark {
			return err
		}
		name, err := filepath.Rel(r.out, path)
		if err != nil {
			return err
		}
		sum, err := hash(path)
		lines = append(lines, sum+"  "+filepath.ToSlash(name)+"\n")
		return err
	}); err != nil {
		return err
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	name := r.made("SHA256SUMS")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "")), 0o644); err != nil {
		return err
	}
	if r.sign == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", r.sign+` "$1"`, "sign", name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("sign SHA256SUMS by %q: %w", r.sign, err)
	}
	return nil
}
