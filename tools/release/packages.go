package main

import (
	"context"
	"io"
	"io/fs"
	"slices"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// packages makes a Debian and an RPM package for each Linux target.
func (r *release) packages(context.Context) error {
	for _, t := range r.targets {
		if t.os != "linux" {
			continue
		}
		for _, format := range []string{"deb", "rpm"} {
			if err := r.pack(format, t); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *release) pack(format string, t target) error {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "gaff", Arch: t.arch, Platform: "linux", Version: r.number(), VersionSchema: "semver", Release: "1",
		Section: "net", Priority: "optional", Maintainer: "the gaff maintainers <gaff@localhost>", License: "MIT",
		Description: "Gateway for inbound webhooks of asynchronous services\n" +
			"gaff verifies webhooks, stores them before it answers, and applies their effects exactly once.",
		MTime: r.date,
		Overridables: nfpm.Overridables{
			Contents: r.contents(t),
			Suggests: []string{"postgresql"},
			Scripts: nfpm.Scripts{
				PostInstall: r.file("deploy", "systemd", "postinstall.sh"),
				PreRemove:   r.file("deploy", "systemd", "preremove.sh"),
				PostRemove:  r.file("deploy", "systemd", "postremove.sh"),
			},
			RPM: nfpm.RPM{Compression: "zstd", Group: "System Environment/Daemons", BuildHost: "gaff"},
			Deb: nfpm.Deb{Compression: "xz"},
		},
	})
	if format == "rpm" {
		info.Suggests = nil
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	return create(r.made(packager.ConventionalFileName(info)), func(w io.Writer) error { return packager.Package(info, w) })
}

// contents lists the files of a package.
func (r *release) contents(t target) files.Contents {
	add := func(source, destination, kind, group string, mode uint32) *files.Content {
		return &files.Content{
			Source: source, Destination: destination, Type: kind,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: group, Mode: fs.FileMode(mode), MTime: r.date},
		}
	}
	list := files.Contents{
		add(r.binaries[t], "/usr/bin/gaff", files.TypeFile, "root", 0o755),
		add(r.file("deploy", "systemd", "gaff.service"), "/usr/lib/systemd/system/gaff.service", files.TypeFile, "root", 0o644),
		add(r.file("deploy", "systemd", "sysusers.conf"), "/usr/lib/sysusers.d/gaff.conf", files.TypeFile, "root", 0o644),
		add(r.file("deploy", "systemd", "tmpfiles.conf"), "/usr/lib/tmpfiles.d/gaff.conf", files.TypeFile, "root", 0o644),
		// Owner and group are set after the installation: the group does not exist before it.
		add(r.file("deploy", "systemd", "gaff.yaml"), "/etc/gaff/gaff.yaml", files.TypeConfigNoReplace, "root", 0o640),
		add(r.file("deploy", "systemd", "gaff.env"), "/etc/gaff/gaff.env", files.TypeConfigNoReplace, "root", 0o640),
		add(r.file("LICENSE"), "/usr/share/doc/gaff/copyright", files.TypeFile, "root", 0o644),
	}
	for _, paper := range slices.DeleteFunc(slices.Clone(papers), func(name string) bool { return name == "LICENSE" }) {
		list = append(list, add(r.file(paper), "/usr/share/doc/gaff/"+paper, files.TypeFile, "root", 0o644))
	}
	return list
}
