package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/a-h/templ"

	"gaff/internal/erase"
)

type eraseView struct {
	Target erase.Target
	Found  *erasure // nil: nothing is chosen yet
}

// erasure is the API's document.
type erasure struct {
	Pseudonym                                                string
	Events, Jobs, Media, Runs, Projects, Rejections, Records int64
	UnfinishedJobs, UnfinishedRuns                           int
	FilesPending, Backups                                    string
}

// eraseKinds are the kinds in the order of the form.
var eraseKinds = []erase.Kind{erase.User, erase.Project, erase.Job, erase.Event, erase.Media}

// counts are the counts that are not zero.
func (v eraseView) counts() (all [][2]string) {
	f := v.Found
	for _, c := range []struct {
		name string
		n    int64
	}{
		{"Events", f.Events}, {"Jobs", f.Jobs}, {"Files", f.Media}, {"Runs", f.Runs}, {"Projects", f.Projects}, {"Rejected requests", f.Rejections},
		{"Rows that stay, without the id", f.Records},
	} {
		if c.n > 0 {
			all = append(all, [2]string{c.name, number(c.n)})
		}
	}
	return all
}

func (v eraseView) unfinished() int { return v.Found.UnfinishedJobs + v.Found.UnfinishedRuns }

// eraseLink returns the page that counts before it asks for confirmation.
func eraseLink(kind erase.Kind, id string) templ.SafeURL {
	return filtered("/erase", "kind", string(kind), "id", id)
}

func (c *console) erase(q *request) (templ.Component, error) {
	q.title, q.nav = "Erase data", "erase"
	v := eraseView{Target: erase.Target{Kind: erase.Kind(q.query("kind")), ID: strings.Join(q.queries("id"), "")}}
	if v.Target.ID == "" {
		v.Target.Kind = erase.User
		return erasePage(v), nil
	}
	if !knownKind(v.Target.Kind) {
		return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown kind: want user, project, job, event or media."}
	}
	res, err := c.callErase(q.Request, v.Target, false, true)
	if err != nil {
		return nil, err
	}
	if res.Status/100 != 2 {
		return nil, &problem{res.Status, "Cannot count the rows", res.problem()}
	}
	v.Found = &erasure{}
	if err := readJSON(res.Body, v.Found); err != nil {
		return nil, err
	}
	return erasePage(v), nil
}

func knownKind(kind erase.Kind) bool {
	for _, known := range eraseKinds {
		if kind == known {
			return true
		}
	}
	return false
}

func (c *console) callErase(r *http.Request, t erase.Target, cancel, dryRun bool) (answer, error) {
	text, err := json.Marshal(map[string]any{string(t.Kind) + "Id": t.ID, "cancel": cancel, "dryRun": dryRun})
	if err != nil {
		return answer{}, err
	}
	return c.call(r, http.MethodPost, "/api/v1/erasures", text)
}

func (c *console) postErase(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "invalid form", http.StatusBadRequest)
		return
	}
	t := erase.Target{Kind: erase.Kind(r.PostFormValue("kind")), ID: r.PostFormValue("id")}
	if !knownKind(t.Kind) {
		http.Error(w, "unknown kind: want user, project, job, event or media", http.StatusBadRequest)
		return
	}
	res, err := c.callErase(r, t, r.PostFormValue("cancel") != "", false)
	back, done := string(eraseLink(t.Kind, t.ID)), "Erased."
	if err == nil && res.Status/100 == 2 {
		var e erasure
		if readJSON(res.Body, &e) == nil {
			var texts []string
			for _, text := range []string{e.FilesPending, e.Backups} {
				if text != "" {
					texts = append(texts, text)
				}
			}
			done = fmt.Sprintf("Erased: %s, %s, %s, %s. %s", plural(e.Events, "event", "events"), plural(e.Jobs, "job", "jobs"),
				plural(e.Media, "file", "files"), plural(e.Runs, "run", "runs"), strings.Join(texts, " "))
		}
		back = "/erase"
	}
	c.done(w, r, res, err, done, back)
}
