package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gaff/internal/wire"
)

func erasure(t *testing.T, res answered) (e wire.Erasure) {
	t.Helper()
	if res.status != http.StatusOK {
		t.Fatalf("erase: %d %s", res.status, res.body)
	}
	if err := json.Unmarshal([]byte(res.body), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEraseUserByAPI(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	body := fmt.Sprintf(`{"userId":%q,"dryRun":true}`, marker)
	counted := erasure(t, s.guarded.call(http.MethodPost, "/api/v1/erasures", adminToken, body))
	if counted.Jobs != 1 || counted.Runs != 1 || counted.UnfinishedRuns != 1 || !counted.DryRun {
		t.Fatalf("counted %+v", counted)
	}
	body = fmt.Sprintf(`{"userId":%q}`, marker)
	if res := s.guarded.call(http.MethodPost, "/api/v1/erasures", adminToken, body); res.status != http.StatusConflict || !strings.Contains(res.body, "not finished") {
		t.Errorf("with a run that is not finished: %d %s", res.status, res.body)
	}
	body = fmt.Sprintf(`{"userId":%q,"cancel":true}`, marker)
	done := erasure(t, s.guarded.call(http.MethodPost, "/api/v1/erasures", adminToken, body))
	if done.Jobs != 1 || done.Runs != 1 || done.Media != 1 || done.Backups == "" {
		t.Errorf("erased %+v", done)
	}
	audit := s.guarded.call(http.MethodGet, "/api/v1/audit", adminToken, "").body
	if strings.Contains(audit, marker+`"`) || !strings.Contains(audit, done.Pseudonym) {
		t.Errorf("audit log, want the pseudonym in place of the id:\n%s", audit)
	}
	if res := s.guarded.call(http.MethodGet, "/api/v1/jobs/"+s.own["jobs"], adminToken, ""); res.status != http.StatusOK {
		t.Errorf("the job of another user: %d", res.status)
	}
}

func TestEraseOneByAPI(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	for _, kind := range []string{"events", "jobs", "projects"} {
		path := "/api/v1/" + kind + "/" + s.own[kind]
		if kind == "projects" {
			path = "/api/v1/projects/film"
		}
		if counted := erasure(t, s.guarded.call(http.MethodDelete, path+"?dryRun=true", adminToken, "")); !counted.DryRun {
			t.Errorf("%s: counted %+v", kind, counted)
		}
		erasure(t, s.guarded.call(http.MethodDelete, path+"?cancel=true", adminToken, ""))
		if res := s.guarded.call(http.MethodGet, path, adminToken, ""); res.status != http.StatusNotFound {
			t.Errorf("GET %s after its erasure: %d", path, res.status)
		}
	}
	for _, body := range []string{`{}`, `{"userId":"a","jobId":"b"}`} {
		if res := s.guarded.call(http.MethodPost, "/api/v1/erasures", adminToken, body); res.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, res.status, res.body)
		}
	}
	for _, role := range []string{"viewer", "operator"} {
		if res := s.call(http.MethodDelete, "/api/v1/jobs/x", role, ""); res.status != http.StatusForbidden {
			t.Errorf("%s erases: %d", role, res.status)
		}
	}
}
