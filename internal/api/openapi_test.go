package api_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write openapi.yaml again")

// The document is kept, so that a change of the API is seen when it is reviewed.
func TestOpenAPIIsAsKept(t *testing.T) {
	t.Parallel()
	const golden = "openapi.yaml"
	res := newFake(t).call(http.MethodGet, "/api/openapi.yaml", "", "")
	if res.status != http.StatusOK {
		t.Fatalf("status %d: %s", res.status, res.body)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(res.body), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != res.body {
		t.Errorf("the API's description changed; look at what go test ./internal/api -run OpenAPI -update changes in %s", golden)
	}
}

// The table in docs/api.md is made of the description.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	const begins, ends = "-update -->\n", "<!-- end -->"
	path := filepath.Join("..", "..", "docs", "api.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begins)
	table, after, ok2 := strings.Cut(rest, ends)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	var doc openAPI
	res := newFake(t).call(http.MethodGet, "/api/openapi.json", "", "")
	if err := json.Unmarshal([]byte(res.body), &doc); err != nil {
		t.Fatal(err)
	}
	want := "\n| address | role | what |\n|---|---|---|\n"
	for _, address := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[address])) {
			op := doc.Paths[address][method]
			role := "viewer"
			for _, name := range []string{"operator", "admin"} {
				if strings.Contains(op.Description, "the role "+name) {
					role = name
				}
			}
			want += "| `" + strings.ToUpper(method) + " " + address + "` | " + role + " | " + op.Summary + " |\n"
		}
	}
	want += "\n"
	if *update {
		if err := os.WriteFile(path, []byte(before+begins+want+ends+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Error("docs/api.md is not of today; run go test ./internal/api -run Documentation -update")
	}
}

type openAPI struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		Summary, Description string
		Security             []map[string][]string
		Responses            map[string]json.RawMessage
	}
}

// Every operation that is described is there and needs the role that it says it needs,
// and is on the page for people.
func TestEveryOperationNeedsAToken(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var doc openAPI
	res := f.call(http.MethodGet, "/api/openapi.json", "", "")
	if err := json.Unmarshal([]byte(res.body), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || len(doc.Paths) < 20 {
		t.Errorf("version %q with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	page := f.call(http.MethodGet, "/api/docs", "", "").body
	for path, ops := range doc.Paths {
		for method, op := range ops {
			method = strings.ToUpper(method)
			target := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "x")
			res := f.call(method, target, "", "")
			if res.status != http.StatusUnauthorized || res.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s without a token: %d %s", method, target, res.status, res.body)
			}
			if len(op.Security) == 0 || op.Responses["401"] == nil || op.Responses["403"] == nil {
				t.Errorf("%s %s: the document does not say that it needs a token", method, path)
			}
			if op.Responses["422"] != nil {
				t.Errorf("%s %s: the document has a 422, which is answered as 400", method, path)
			}
			// A login link and a browser token give no more than the caller has.
			if method != http.MethodGet && path != "/api/v1/login-links" && path != "/api/v1/tokens" {
				if res := f.call(method, target, "viewer", ""); res.status != http.StatusForbidden || !strings.Contains(res.body, "this needs the role") {
					t.Errorf("%s %s as a viewer: %d %s", method, target, res.status, res.body)
				}
			}
			if !strings.Contains(page, "<code>"+path+"</code>") || op.Summary == "" {
				t.Errorf("%s %s is not on the page", method, path)
			}
		}
	}
}

// The page must work where nothing from elsewhere can be had, and let nothing in.
func TestDocsPageStandsAlone(t *testing.T) {
	t.Parallel()
	res := newFake(t).call(http.MethodGet, "/api/docs", "", "")
	policy := res.header.Get("Content-Security-Policy")
	if res.status != http.StatusOK || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("status %d, policy %q", res.status, policy)
	}
	for _, bad := range []string{"://", "<script", "<link", " src=", " style="} {
		if strings.Contains(res.body, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(res.body)
	if style == nil {
		t.Fatal("no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("the policy %q does not let the page's own style in", policy)
	}
}

// A caller that has many parameters sees which value was rejected.
func TestRejectedParametersAreShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct{ method, path, body, want string }{
		{"GET", "/api/v1/events?status=open", "", `status: expected value to be one of \"pending, success, error\", not \"open\"`},
		{"GET", "/api/v1/events?limit=0", "", `limit: expected number >= 1, not 0`},
		{"GET", "/api/v1/media?mediaType=image", "", `mediaType: expected value to be one of \"generated-image, generated-video, generated-audio, generated-model, generated-file\", not \"image\"`},
		{"GET", "/api/v1/events?violation=maybe", "", `violation: invalid boolean, not \"maybe\"`},
		{"GET", "/api/v1/events?inner=" + strings.Repeat("x", 100), "", `, not \"` + strings.Repeat("x", 60) + `…\"`},
		{"POST", "/api/v1/sources", `{"name":"a","preset":"stripe","onViolation":"warm"}`, `onViolation: expected value to be one of \"warn, refuse\", not \"warm\"`},
		{"POST", "/api/v1/sources", `{"name":"a","preset":"stripe","rate":-1}`, `rate: expected number >= 0, not -1`},
		{"POST", "/api/v1/destinations", `{"name":"a","url":"https://app.example.com","timeout":"soon"}`, `timeout: expected string to be a duration such as 15s or 2m, not \"soon\"`},
		{"POST", "/api/v1/sources/a/rotate", `{"secret":5}`, `"secret: expected string"`},
		{"POST", "/api/v1/sources/a/rotate", `{"secret":""}`, `secret: expected length >= 1`},
		{"POST", "/api/v1/sources/a/rotate", `{"grace":""}`, `grace: expected length >= 1`},
		{"PATCH", "/api/v1/scheduled-events/sch_1", `{"type":""}`, `type: expected length >= 1`},
	} {
		res := w.call(test.method, test.path, "admin", test.body)
		if res.status != http.StatusBadRequest || !strings.Contains(res.body, test.want) {
			t.Errorf("%s %.60s %s: %d %.400s; want 400 and %s", test.method, test.path, test.body, res.status, res.body, test.want)
		}
	}
}

type describedSchema struct {
	Ref        string                     `json:"$ref"`
	Enum       []any                      `json:"enum"`
	Items      *describedSchema           `json:"items"`
	Properties map[string]describedSchema `json:"properties"`
}

// A value that no row can have is a mistake of the caller, not an empty list.
func TestFiltersHaveTheValuesOfTheirMembers(t *testing.T) {
	t.Parallel()
	doc := decodeInto[struct {
		Paths map[string]struct {
			Get struct {
				Parameters []struct {
					Name   string
					Schema describedSchema
				}
				Responses map[string]struct {
					Content map[string]struct{ Schema describedSchema }
				}
			}
		}
		Components struct{ Schemas map[string]describedSchema }
	}](t, newWorld(t).call(http.MethodGet, "/api/openapi.json", "viewer", "").body)
	found := 0
	for path, item := range doc.Paths {
		list := doc.Components.Schemas[strings.TrimPrefix(item.Get.Responses["200"].Content["application/json"].Schema.Ref, "#/components/schemas/")]
		items := list.Properties["docs"].Items
		if items == nil {
			continue
		}
		row := doc.Components.Schemas[strings.TrimPrefix(items.Ref, "#/components/schemas/")]
		for _, p := range item.Get.Parameters {
			if len(row.Properties[p.Name].Enum) == 0 {
				continue
			}
			if found++; len(p.Schema.Enum) == 0 {
				t.Errorf("%s: the parameter %s takes any value", path, p.Name)
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d parameters have a member with an enumeration", found)
	}
}
