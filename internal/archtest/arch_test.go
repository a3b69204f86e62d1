// Package archtest holds the rules of the source: who may import whom, and which words are avoided.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// rule forbids files of some packages to import others. Test files are held to it too,
// where tests says so.
type rule struct {
	why   string
	from  string // regular expression on the package's path below the module
	not   string // packages that from matches and the rule leaves out
	deny  string // regular expression on the imported path
	allow string // imports that deny matches and the rule allows
}

var rules = []rule{
	{
		why:  "the root package is the vocabulary: it imports leaves and the standard library only",
		from: `^$`, deny: `^gaff/|\.`, allow: `^(gaff/internal/(excerpt|httpx|id|jsonpointer|jsonscan|linger|payload|redact)|golang\.org/x/time/rate)$`,
	},
	{
		why:  "leaves import the standard library and their one library",
		from: `^internal/(blob|buildinfo|excerpt|fault|httpx|id|inproc|jsonpointer|jsonscan|linger|mediafile|migrate|payload|safehttp|sharedkey|sorting|suggest|yamlfile)$`, deny: `^gaff(/|$)`, allow: `^gaff/internal/jsonpointer$`,
	},
	{
		why:  "the wrapper of the expression language knows nothing of gaff",
		from: `^internal/cel$`, deny: `^gaff(/|$)`, allow: `^gaff/internal/(excerpt|suggest)$`,
	},
	{
		why:  "leaves import the standard library and their one library",
		from: `^internal/javascript$`, deny: `^gaff(/|$)`, allow: `^gaff/internal/excerpt$`,
	},
	{
		why:  "only internal/javascript links the JavaScript engine",
		from: `.*`, not: `^internal/javascript$`, deny: `^modernc\.org/(lib)?quickjs`,
	},
	{
		why:  "only internal/cel links the expression language",
		from: `.*`, not: `^internal/cel$`, deny: `^cel\.dev/|^github\.com/google/cel-go`,
	},
	{
		why:  "verify and jobs know the vocabulary only; callbacks are signed as receivers verify",
		from: `^(verify|jobs)$`, deny: `^gaff/`, allow: `^gaff/(internal/(excerpt|fault|httpx|id|jsonpointer|jsonscan|payload|redact|sharedkey)|client)$`,
	},
	{
		why:  "sender knows verify and the vocabulary; verify does not know sender",
		from: `^sender$`, deny: `^gaff/`, allow: `^gaff/(verify|internal/(fault|jsonpointer|payload))$`,
	},
	{
		why:  "providers know verify and jobs, not each other, no store and no server",
		from: `^provider/`, not: `^provider/all$`, deny: `^gaff/`, allow: `^gaff/(provider|verify|sender|jobs|internal/(cel|excerpt|fault|httpx|jsonpointer|jsonscan|payload|redact|safehttp|suggest))$`,
	},
	{
		why:  "the list of providers is the only place that names them",
		from: `^provider/all$`, deny: `^gaff/`, allow: `^gaff/provider(/|$)`,
	},
	{
		why:  "settings and commands know providers by their list only",
		from: `^internal/(config|cli)$`, deny: `^gaff/provider/`, allow: `^gaff/provider/(all|described)$`,
	},
	{
		why:  "workflows know the vocabulary and jobs; a program without workflows links no expression language",
		from: `^workflow$`, deny: `^gaff/`, allow: `^gaff/(jobs|workflow/runs|internal/(id|cel|excerpt|suggest|yamlfile))$`,
	},
	{
		why:  "the rows of runs know jobs only, so that a store links no expression language",
		from: `^workflow/runs$`, deny: `^gaff/|\.`, allow: `^gaff/jobs$`,
	},
	{
		why:  "only the definitions, the app, the API, the pages and the commands know workflows",
		from: `.*`, not: `^(workflow|embed|internal/(app|api|wire|ui|cli|bench|e2e|storetest|definition))$`, deny: `^gaff/workflow$`,
	},
	{
		why:  "what keeps files knows the rows of jobs, and no store's tables",
		from: `^internal/media$`, deny: `^gaff/`, allow: `^gaff/(jobs|internal/(blob|excerpt|httpx|mediafile|payload|safehttp|sharedkey))$`,
	},
	{
		why:  "queries know the vocabulary, jobs and runs",
		from: `^internal/sqlstore$`, deny: `^gaff/`, allow: `^gaff/(jobs|workflow/runs|internal/(id|access|alert|erase|excerpt|httpx|issue|secretbox|stale|stats|writer))$`,
	},
	{
		why:  "templates call methods by reflection, which keeps every exported method in the binary: 7 MiB (docs/decisions/0031-small-binary.md)",
		from: `.*`, deny: `^(html|text)/template$`,
	},
	{
		why:  "the group-commit writer knows the vocabulary only: no SQL, no tables",
		from: `^internal/writer$`, deny: `^gaff/|\.`,
	},
	{
		why:  "access, diff, issue and stats know the vocabulary only",
		from: `^internal/(access|diff|issue|stats)$`, deny: `^gaff/`, allow: `^gaff/internal/(connlimit|excerpt|httpx|id)$`,
	},
	{
		why:  "what scopes hide is decided of rows of the domain, with no store and no server",
		from: `^internal/scoped$`, deny: `^gaff/`, allow: `^gaff/(jobs|workflow/runs|internal/(access|excerpt|issue|stats))$`,
	},
	{
		why:  "the login at an identity provider knows access only, and only it links the libraries of OpenID Connect",
		from: `^internal/sso$`, deny: `^gaff/`, allow: `^gaff/internal/(access|jsonpointer)$`,
	},
	{
		why:  "only internal/sso links the libraries of OpenID Connect",
		from: `.*`, not: `^internal/sso$`, deny: `^github\.com/coreos/go-oidc`,
	},
	{
		why:  "only logins and destinations get tokens by OAuth2",
		from: `.*`, not: `^(internal/sso|destination)$`, deny: `^golang\.org/x/oauth2`,
	},
	{
		why:  "the tools of agents call the API, and know its documents only",
		from: `^internal/mcp$`, deny: `^gaff/`, allow: `^gaff/internal/(excerpt|inproc|wire)$`,
	},
	{
		why:  "only internal/mcp links the library of the Model Context Protocol",
		from: `.*`, not: `^internal/mcp$`, deny: `^github\.com/modelcontextprotocol/`,
	},
	{
		why:  "alerts know the vocabulary and issues: what they watch is handed to them",
		from: `^internal/alert$`, deny: `^gaff/`, allow: `^gaff/internal/(excerpt|id|issue|safehttp)$`,
	},
	{
		why:  "disk is a leaf, too",
		from: `^internal/disk$`, deny: `^gaff(/|$)`,
	},
	{
		why:  "checks watch rows of the domain; channels know no store and no server",
		from: `^internal/watch$`, deny: `^gaff/`, allow: `^gaff/(destination|internal/(alert|disk|issue|stats))$`,
	},
	{
		why:  "spans are made from the vocabulary, for programs that use the library, too",
		from: `^tracing$`, deny: `^gaff/`, allow: `^gaff/internal/redact$`,
	},
	{
		why:  "only tracing and telemetry know OpenTelemetry",
		from: `.*`, not: `^(tracing|internal/telemetry)$`, deny: `^go\.opentelemetry\.io/`,
	},
	{
		why:  "SQL lives in internal/sqlstore, store and internal/migrate; embed takes transactions of programs",
		from: `.*`, not: `^(embed|internal/(sqlstore|migrate|storetest|pgtest|powercut|sqlitevfs|bench)|store/[a-z]+)$`, deny: `^database/sql|^modernc\.org/sqlite|^github\.com/jackc`,
	},
	{
		why:  "a store links its own driver only",
		from: `^(internal/(sqlstore|migrate)|store/sqlite)$`, deny: `^github\.com/jackc`,
	},
	{
		why:  "the documents of the API are made of rows of the domain; they know no store, no server and no library of the API",
		from: `^internal/wire$`, deny: `^gaff/|\.`, allow: `^gaff/(jobs|workflow|workflow/runs|destination|internal/(access|alert|definition|diff|erase|issue|redact|replay|search|stats))$`,
	},
	{
		why:  "the API and the server never see a store, a provider or the configuration",
		from: `^internal/(api|ui|server|metrics)$`, deny: `^gaff/(store|provider|internal/(sqlstore|config|app|cli))`,
	},
	{
		why:  "the console asks the API's handler, and does not know it",
		from: `^internal/ui$`, deny: `^gaff/internal/`, allow: `^gaff/internal/(access|alert|diff|erase|excerpt|inproc|issue|redact|scoped|shell|stats)$`,
	},
	{
		why:  "only app joins the parts",
		from: `.*`, not: `^(internal/(app|e2e|bench|storetest)|gafftest|provider/all)$`, deny: `^gaff/(store|provider|internal/metrics|internal/server|internal/api|internal/ui)`,
		allow: `^gaff/provider(/all|/described)?$`,
	},
	{
		why:  "receivers link the standard library alone",
		from: `^client$`, deny: `^gaff(/|$)|\.`,
	},
	{
		why:  "destination knows the vocabulary, jobs and leaves: no store, no server",
		from: `^destination$`, deny: `^gaff/`, allow: `^gaff/(jobs|client|internal/(cel|excerpt|httpx|id|javascript|jsonpointer|jsonscan|redact|safehttp))$`,
	},
	{
		why:  "only the list of brokers names them",
		from: `.*`, not: `^destination/broker/all$`, deny: `^gaff/destination/broker/`, allow: `^gaff/destination/broker/all$`,
	},
	{
		why:  "only app opens brokers",
		from: `.*`, not: `^internal/app$`, deny: `^gaff/destination/broker/all$`,
	},
	{
		why:  "only brokers link their libraries, and the parts that they share",
		from: `.*`, not: `^destination/broker/`, deny: `^gaff/destination/broker$|^github.com/(nats-io|twmb|gomodule|aws)/`,
	},
	{
		why:  "brokers know destination and the addresses that may be dialled, and which errors may be logged",
		from: `^destination/broker(/[a-z]+)?$`, deny: `^gaff/`, allow: `^gaff/(destination(/broker(/[a-z]+)?)?|internal/(redact|safehttp))$`,
	},
	{
		why:  "only main knows the commands, and only commands and embed the app",
		from: `.*`, not: `^(cmd/gaff|internal/cli|embed)$`, deny: `^gaff/internal/(cli|app)`,
	},
	{
		why:  "the tunnel is handed the receiving handler and knows nothing behind it; only the app opens it",
		from: `^internal/tunnel$`, deny: `^gaff/`, allow: `^gaff/internal/connlimit$`,
	},
	{
		why:  "only the app opens a tunnel",
		from: `.*`, not: `^internal/(app|tunnel)$`, deny: `^gaff/internal/tunnel|^golang\.ngrok\.com`,
	},
	{
		why:  "the stand-ins are written from the services' own words, not from gaff's reading of them",
		from: `^internal/standin$`, deny: `^gaff/`,
	},
	{
		why:  "the store's test suite and the tests' database are for tests",
		from: `.*`, not: `^internal/bench$`, deny: `^gaff/internal/(apitest|ssotest|storetest|pgtest|fuzzseed|eventually|powercut)`,
	},
}

// environment is read by config and cli only; everything else is handed its settings.
var environment = regexp.MustCompile(`\bos\.(Getenv|LookupEnv|Environ|ExpandEnv)\b`)

func TestImports(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	module := modulePath(t, root)
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || name == "tools" || name == "examples" || strings.HasPrefix(name, ".") && path != root) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		seen++
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if pkg == "." {
			pkg = ""
		}
		return checkFile(t, path, module, pkg)
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("only %d files were checked: is the walk still right?", seen)
	}
}

func modulePath(t *testing.T, root string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(text)
	if found == nil {
		t.Fatal("go.mod names no module")
	}
	return string(found[1])
}

func checkFile(t *testing.T, path, module, pkg string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		// The rules call the module gaff, for any module path (make module).
		if below, ok := strings.CutPrefix(imported, module); ok && (below == "" || below[0] == '/') {
			imported = "gaff" + below
		}
		if imported == "gaff/internal/sorting" {
			continue // in place of functions of the standard library, which all may call
		}
		for _, r := range rules {
			if r.breaks(pkg, imported) {
				t.Errorf("%s imports %s: %s", path, imported, r.why)
			}
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if environment.Match(text) && !regexp.MustCompile(`^(internal/(config|cli|bench|pgtest)|cmd/gaff)$`).MatchString(pkg) {
		t.Errorf("%s reads the environment: only config and cli do (and bench and pgtest, which start programs)", path)
	}
	return nil
}

func (r rule) breaks(pkg, imported string) bool {
	if !regexp.MustCompile(r.from).MatchString(pkg) || r.not != "" && regexp.MustCompile(r.not).MatchString(pkg) {
		return false
	}
	if !regexp.MustCompile(r.deny).MatchString(imported) {
		return false
	}
	return r.allow == "" || !regexp.MustCompile(r.allow).MatchString(imported)
}

func TestRulesCatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pkg, imported string
		caught        bool
	}{
		{"", "gaff/store/sqlite", true},
		{"", "gaff/internal/id", false},
		{"", "github.com/oklog/ulid/v2", true},
		{"", "net/http", false},
		{"provider/fal", "gaff/provider/lastframe", true},
		{"internal/api", "gaff/internal/sqlstore", true},
		{"internal/api", "gaff/jobs", false},
		{"internal/cli", "database/sql", true},
		{"internal/sqlstore", "github.com/jackc/pgx/v5", true},
		{"jobs", "gaff/internal/sqlstore", true},
	} {
		caught := false
		for _, r := range rules {
			caught = caught || r.breaks(c.pkg, c.imported)
		}
		if caught != c.caught {
			t.Errorf("%q imports %q: caught %v, want %v", c.pkg, c.imported, caught, c.caught)
		}
	}
}
