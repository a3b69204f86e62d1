package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSheetForPeople(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	jobs := func() *sheet {
		s := newSheet("ID", "MODEL", "STATUS", "CREATED", "EXPECTED", "ERROR")
		s.row("job_01", "fal-ai/flux/dev", "failed", "2026-11-29T11:58:00Z", "-", "the prompt is missing in the input")
		s.row("job_02", "模型模型模型", "completed", "2026-11-20T12:00:00Z", "-", "")
		return s
	}
	tests := map[string]struct {
		d       display
		columns []string
		want    string
	}{
		"programs": {display{}, nil, "" +
			"ID      MODEL            STATUS     CREATED               EXPECTED  ERROR\n" +
			"job_01  fal-ai/flux/dev  failed     2026-11-29T11:58:00Z  -         the prompt is missing in the input\n" +
			"job_02  模型模型模型     completed  2026-11-20T12:00:00Z  -\n"},
		"a wide terminal": {display{people: true, now: now, width: 200}, nil, "" +
			"ID      MODEL            STATUS     CREATED  ERROR\n" +
			"job_01  fal-ai/flux/dev  failed     2m ago   the prompt is missing in the input\n" +
			"job_02  模型模型模型     completed  9d ago\n"},
		"a narrow terminal": {display{people: true, now: now, width: 58}, nil, "" +
			"ID      MODEL           STATUS     CREATED  ERROR\n" +
			"job_01  fal-ai/flux/d…  failed     2m ago   the prompt is…\n" +
			"job_02  模型模型模型    completed  9d ago\n"},
		"a very narrow terminal": {display{people: true, now: now, width: 10}, nil, "" +
			"ID      MODEL     STATUS     CREATED  ERROR\n" +
			"job_01  fal-ai/…  failed     2m ago   the pro…\n" +
			"job_02  模型模…   completed  9d ago\n"},
		"colors": {display{people: true, color: true, now: now}, []string{"status"}, "" +
			"STATUS\n\x1b[31mfailed\x1b[0m\n\x1b[32mcompleted\x1b[0m\n"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			s := jobs()
			switch {
			case c.columns != nil:
				s.choose(c.columns)
			case c.d.people:
				s.dropEmpty()
			}
			if err := s.write(&b, c.d); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, b.String()); diff != "" {
				t.Errorf("sheet (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for before, want := range map[time.Duration]string{
		0: "now", 59 * time.Second: "59s ago", 90 * time.Minute: "1h ago", 47 * time.Hour: "47h ago", 72 * time.Hour: "3d ago",
		-2 * time.Hour: "in 2h",
	} {
		if got := ago(now, now.Add(-before)); got != want {
			t.Errorf("ago(%s before) = %q, want %q", before, got, want)
		}
	}
}

func TestListsOnATerminal(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"docs":[{"id":"job_1","provider":"fal","status":"completed","createdAt":"2026-01-31T11:59:00Z"}]}`))
	}))
	t.Cleanup(srv.Close)
	environ := []string{"GAFF_URL=" + srv.URL, "GAFF_TOKEN=" + token, "COLUMNS=80"}
	tests := map[string]struct {
		args     []string
		environ  []string
		terminal bool
		want     string
	}{
		"colors":       {[]string{"jobs", "list"}, nil, true, "job_1  fal       \x1b[32mcompleted\x1b[0m  1m ago\n"},
		"NO_COLOR":     {[]string{"jobs", "list"}, []string{"NO_COLOR=1"}, true, "job_1  fal       completed  1m ago\n"},
		"TERM is dumb": {[]string{"jobs", "list"}, []string{"TERM=dumb"}, true, "job_1  fal       completed  1m ago\n"},
		"columns":      {[]string{"jobs", "list", "--columns", "status,id"}, nil, false, "completed  job_1\n"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := cmdline{args: c.args, environ: append(c.environ, environ...), terminal: c.terminal}.run(t, t.Context())
			if _, rows, _ := strings.Cut(res.stdout, "\n"); rows != c.want {
				t.Errorf("rows = %q, want %q", rows, c.want)
			}
		})
	}
	res := cmdline{args: []string{"jobs", "list", "--columns", "prompt"}, environ: environ}.run(t, t.Context())
	res.want(t, exitUsage, nil, []string{`unknown column "prompt"`, "id,provider,model,status"})
}

func TestCompletions(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		docs := map[string]string{
			"/api/v1/jobs":    `{"docs":[{"id":"job_1","model":"fal-ai/flux/dev","status":"completed"},{"id":"other","status":"failed"}]}`,
			"/api/v1/sources": `{"docs":[{"name":"stripe","title":"Stripe"}]}`,
		}
		_, _ = w.Write([]byte(docs[r.URL.Path]))
	}))
	t.Cleanup(srv.Close)
	for line, want := range map[string]string{
		"jobs show ":             "job_1\tfal-ai/flux/dev, completed\nother\tfailed\n:36\n",
		"jobs show job":          "job_1\tfal-ai/flux/dev, completed\n:36\n",
		"jobs show job_1 ":       ":36\n",
		"events list --source ":  "stripe\tStripe\n:36\n",
		"events list --status ":  "pending\nsuccess\nerror\n:4\n",
		"keys create me --role ": "viewer\noperator\nadmin\n:4\n",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			res := cmdline{
				args: append([]string{"__complete"}, strings.Split(line, " ")...), environ: []string{"GAFF_URL=" + srv.URL, "GAFF_TOKEN=" + token},
			}.run(t, t.Context())
			if diff := cmp.Diff(want, res.stdout); diff != "" {
				t.Errorf("completions (-want +got):\n%s", diff)
			}
		})
	}
}
