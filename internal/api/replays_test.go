package api_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"gaff/internal/eventually"
	"gaff/internal/wire"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var sent []string
	f := newForwarder(t, func(r *http.Request) int {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.URL.String()+" "+r.Header.Get("Gaff-Replay"))
		return 200
	})
	id := f.emit(t, "paid")
	f.emit(t, "sent")
	if res := f.post("POST", "/api/v1/destinations", "admin", `{"name":"crm","url":"https://crm.example.com/in","events":["shop:paid"]}`); res.status != 201 {
		t.Fatal(res.body)
	}
	dry := f.post("POST", "/api/v1/replays", "operator", `{"destination":"crm","since":"1h","dryRun":true}`)
	if doc := decodeInto[wire.Replay](t, dry.body); dry.status != 202 || doc.State != "counted" || doc.Matches != 1 || doc.ID != "" {
		t.Errorf("a dry run: %d %s", dry.status, dry.body)
	}
	res := f.post("POST", "/api/v1/replays", "operator", `{"destination":"crm","since":"1h","missing":true}`)
	doc := decodeInto[wire.Replay](t, res.body)
	if res.status != 202 || !strings.HasPrefix(doc.ID, "rpl_") || doc.By == "" {
		t.Fatalf("%d %s", res.status, res.body)
	}
	eventually.True(t, "the replay is done", func() bool {
		return decodeInto[wire.Replay](t, f.post("GET", "/api/v1/replays/"+doc.ID, "viewer", "").body).State == "done"
	})
	res = f.post("POST", "/api/v1/replays", "admin", `{"url":"https://debug.example.com/secret-path","eventId":"`+id+`"}`)
	if res.status != 202 || !strings.Contains(res.body, "secret-path") {
		t.Fatalf("to a URL: %d %s", res.status, res.body)
	}
	ad := decodeInto[wire.Replay](t, res.body)
	eventually.True(t, "both are sent", func() bool {
		mu.Lock()
		defer mu.Unlock()
		all := strings.Join(sent, "\n")
		return strings.Contains(all, "https://crm.example.com/in ") && strings.Contains(all, "https://debug.example.com/secret-path "+ad.ID)
	})
	if list := f.post("GET", "/api/v1/replays", "viewer", ""); list.status != 200 || strings.Contains(list.body, "secret-path") || strings.Index(list.body, ad.ID) > strings.Index(list.body, doc.ID) {
		t.Errorf("the list for a viewer: %d %s", list.status, list.body)
	}
	if res = f.post("DELETE", "/api/v1/replays/"+doc.ID, "operator", ""); res.status != 409 {
		t.Errorf("cancel of one that is done: %d", res.status)
	}
}

func TestReplayChecksTheCaller(t *testing.T) {
	t.Parallel()
	f := newForwarder(t, func(*http.Request) int { return 200 })
	for _, c := range []struct {
		token, body string
		status      int
		want        string
	}{
		{"viewer", `{"destination":"crm","since":"1h"}`, 403, "operator"},
		{"operator", `{"url":"https://debug.example.com","since":"1h"}`, 403, "needs the role admin"},
		{"operator", `{"destination":"crm","since":"1h"}`, 404, `destination \"crm\"`},
		{"operator", `{"since":"1h"}`, 400, "give either destination or url"},
		{"admin", `{"url":"https://debug.example.com","since":"then"}`, 400, "since:"},
		{"admin", `{"url":"https://debug.example.com","since":"1h","typo":1}`, 400, "typo"},
	} {
		if res := f.post("POST", "/api/v1/replays", c.token, c.body); res.status != c.status || !strings.Contains(res.body, c.want) {
			t.Errorf("%s as %s: %d %s", c.body, c.token, res.status, res.body)
		}
	}
	// The audit log has who sent what where, without the path of a URL.
	admin := f.guarded
	if res := admin.call("POST", "/api/v1/replays", adminToken, `{"url":"https://debug.example.com/secret-path","source":"shop"}`); res.status != 202 {
		t.Fatal(res.body)
	}
	audit := admin.call("GET", "/api/v1/audit?action=start-replay", adminToken, "").body
	if !strings.Contains(audit, "debug.example.com") || strings.Contains(audit, "secret-path") {
		t.Errorf("the audit log: %s", audit)
	}
}
