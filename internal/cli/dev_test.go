package cli

import (
	"context"
	"io"
	"testing"

	"gaff/internal/app"
	"gaff/internal/config"
)

// Commands that open the data folder themselves find that of "gaff dev", as others do.
func TestLocalCommandsUseTheDevFolder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"dev only": {map[string]string{"gaff-dev/" + app.DatabaseFile: ""}, app.DevDir},
		"both":     {map[string]string{"gaff-dev/" + app.DatabaseFile: "", "gaff-data/" + app.DatabaseFile: ""}, config.Default().DataDir},
		"none":     {nil, config.Default().DataDir},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			line := cmdline{args: []string{"migrate"}, files: c.files}
			line.parts.migrate = func(_ context.Context, cfg *config.Config, _ io.Writer) error {
				got = cfg.DataDir
				return nil
			}
			line.run(t, t.Context()).want(t, exitDone, nil, nil)
			if got != c.want {
				t.Errorf("data folder %q, want %q", got, c.want)
			}
		})
	}
}
