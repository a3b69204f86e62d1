package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWarnOpenFiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		dir, token os.FileMode
		want       []string
	}{
		"owner alone":        {0o700, 0o600, nil},
		"group may list":     {0o750, 0o600, nil},
		"folder for all":     {0o777, 0o600, []string{"the data folder", "0777", "chmod 700"}},
		"folder read by all": {0o755, 0o600, []string{"the data folder", "0755"}},
		"token read by all":  {0o700, 0o644, []string{"admin-token", "0644", "chmod 600"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, TokenFile)
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			for path, mode := range map[string]os.FileMode{dir: tc.dir, path: tc.token} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
			var text strings.Builder
			warnOpenFiles(dir, slog.New(slog.NewTextHandler(&text, nil)))
			if len(tc.want) == 0 && text.Len() > 0 {
				t.Errorf("warned: %s", text.String())
			}
			for _, want := range tc.want {
				if !strings.Contains(text.String(), want) {
					t.Errorf("%q does not mention %q", text.String(), want)
				}
			}
		})
	}
}

func TestKeptTokenIsReadableByItsOwnerAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), TokenFile)
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := keepToken(path, newToken()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}
