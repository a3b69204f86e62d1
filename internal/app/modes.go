package app

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
)

// warnOpenFiles warns of a data folder, and of secrets in it, that other users of the
// machine may read or change. gaff creates them for its owner alone, but a folder that was
// there before, a backup or a deployment tool may leave other modes.
func warnOpenFiles(dir string, log *slog.Logger) {
	if runtime.GOOS == "windows" {
		return // modes there say nothing about who may read
	}
	warn := func(what, path string, mode, open fs.FileMode, want string) {
		if mode.Perm()&open != 0 {
			log.Warn("other users of this machine can open data of gaff", "what", what, "path", path,
				"mode", fmt.Sprintf("%04o", mode.Perm()), "fix", "chmod "+want)
		}
	}
	if info, err := os.Stat(dir); err == nil {
		// A group that may read the folder sees names only; the files have modes of their own.
		warn("the data folder", dir, info.Mode(), 0o027, "700")
	}
	for _, name := range []string{TokenFile, LocalTokenFile, DatabaseFile, DatabaseFile + "-wal", DevEnvFile} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil {
			warn("the file "+name, path, info.Mode(), 0o077, "600")
		}
	}
}
