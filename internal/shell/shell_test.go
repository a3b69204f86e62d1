package shell_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gaff/internal/fuzzseed"
	"gaff/internal/shell"
)

// hostile are texts that mean something to a shell, a terminal or curl.
var hostile = []string{
	"", "plain", "two words", "`touch$IFS'P'`", "$(touch P)", "${IFS}", "a;touch P", "a&&touch P", "a|touch P", "a>P", "<P", "*", "?", "[a]", "~", "~root",
	"it's", `say "x"`, `back\slash`, `end\`, "!!", "a!b\nc!d", "#x", "-o", "--output=P", "@/etc/hostname", "@-", "line\nbreak", "\r\n", "\ttab", "\x1b[201~\x03\necho P\n",
	"\x7f", "\u0085", "\u202e", "\u2028", "\ufeff", "\ufffd", "\xff\xfe", "\xed\xa0\x80", "a=b", "x$'\\''y", `$'\x41'`, "\\n", "\\101", "{a,b}", "漢字 äöü", "%s%n", "\x01!'\\",
}

// run has bash run a command with a curl that only notes its arguments and what it reads,
// and returns both. Nothing else may come into being in its folder.
func run(t *testing.T, command string) (args []string, stdin []byte) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	bin, dir := t.TempDir(), t.TempDir()
	fake := "#!/bin/sh\nprintf '%s\\0' \"$@\" > \"$NOTES/args\"\nfor a; do [ \"$a\" = @- ] && cat > \"$NOTES/stdin\"; done\nexit 0\n"
	// A process that is started meanwhile would hold the script open for writing, and it could not be run.
	syscall.ForkLock.RLock()
	err = os.WriteFile(filepath.Join(bin, "curl"), []byte(fake), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bash, "-c", command)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "NOTES=" + bin, "HOME=" + dir, "LC_ALL=C"}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%s\n%v: %s", command, err, out)
	}
	if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
		t.Fatalf("%s\nmade %v (%v)", command, made, err)
	}
	text, err := os.ReadFile(filepath.Join(bin, "args"))
	if err != nil {
		t.Fatalf("%s\ndid not run curl: %v", command, err)
	}
	stdin, _ = os.ReadFile(filepath.Join(bin, "stdin"))
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"), stdin
}

func isControl(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r == 0x1b || r == 0x202e }

func TestQuoteIsOneWord(t *testing.T) {
	t.Parallel()
	words := slices.Clone(hostile)
	for _, text := range hostile {
		words = append(words, "x"+text+"y")
	}
	got, _ := run(t, "curl "+shell.Words(words...))
	if !slices.Equal(got, words) {
		for i := range words {
			if i >= len(got) || got[i] != words[i] {
				t.Fatalf("word %d is %q, want %q (as %s)", i, got[i:min(i+1, len(got))], words[i], shell.Quote(words[i]))
			}
		}
		t.Errorf("%d words, want %d", len(got), len(words))
	}
}

func TestQuoteIsPastable(t *testing.T) {
	t.Parallel()
	for _, text := range append(slices.Clone(hostile), "nul\x00byte") {
		if got := shell.Quote(text); strings.ContainsFunc(got, func(r rune) bool { return isControl(r) || r == '\n' }) {
			t.Errorf("%q is written as %q", text, got)
		}
	}
}

func TestCurlSendsTheBody(t *testing.T) {
	t.Parallel()
	bodies := append(slices.Clone(hostile), "nul\x00byte", "\x00", `{"a":"$(rm) 'x'"}`, strings.Repeat("\x01", shell.MaxTyped))
	for _, body := range bodies {
		command := shell.Curl(shell.Request{
			Method: "POST", URL: "https://gaff.example/hook", Header: map[string][]string{"Content-Type": {"text/plain"}}, Body: []byte(body),
		})
		if strings.ContainsFunc(command, isControl) {
			t.Errorf("%q: control characters in %q", body, command)
		}
		args, stdin := run(t, command)
		if len(args) < 2 {
			t.Fatalf("%q: %q", body, args)
		}
		option, value := args[len(args)-2], args[len(args)-1]
		switch {
		case body == "":
			if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--data") }) {
				t.Errorf("an empty body became %q", args)
			}
		case option == "--data-raw" && value == body:
		case option == "--data-binary" && value == "@-" && string(stdin) == body:
		default:
			t.Errorf("body %q became %q %q, standard input %q", body, option, value, stdin)
		}
	}
}

func TestCurlSendsMethodURLAndHeaders(t *testing.T) {
	t.Parallel()
	for _, text := range hostile {
		value := strings.NewReplacer("\r", " ", "\n", " ").Replace(text)
		header := "X-A: " + value
		if strings.TrimSpace(value) == "" {
			header = "X-A;"
		}
		args, _ := run(t, shell.Curl(shell.Request{
			Method: text, URL: "https://gaff.example/" + text, Header: map[string][]string{"X-A": {text}, "@/etc/hostname": {"x"}, "Host": {"evil.example"}},
		}))
		want := []string{"-X", text, "https://gaff.example/" + text, "-H", header}
		if args = slices.DeleteFunc(args, func(a string) bool { return a == "--globoff" }); !slices.Equal(args, want) {
			t.Errorf("%q, want %q", args, want)
		}
	}
}

func TestCurlKeepsARequestWithoutContentType(t *testing.T) {
	t.Parallel()
	args, _ := run(t, shell.Curl(shell.Request{Method: "POST", URL: "http://x", Body: []byte("{}")}))
	if want := []string{"-X", "POST", "http://x", "-H", "Content-Type:", "--data-raw", "{}"}; !slices.Equal(args, want) {
		t.Errorf("%q, want %q", args, want)
	}
}

func TestCurlReadsLongBodiesFromAFile(t *testing.T) {
	t.Parallel()
	args, _ := run(t, shell.Curl(shell.Request{Method: "POST", URL: "http://x/[1-3]", Body: bytes.Repeat([]byte("x"), shell.MaxTyped+1), File: "evt_1.bin"}))
	if want := []string{"-X", "POST", "--globoff", "http://x/[1-3]", "-H", "Content-Type:", "--data-binary", "@evt_1.bin"}; !slices.Equal(args, want) {
		t.Errorf("%q, want %q", args, want)
	}
}

// Other texts at each run.
func TestQuoteOfVariedTexts(t *testing.T) {
	t.Parallel()
	for words := range slices.Chunk(fuzzseed.Vary(hostile...), 100) {
		want := make([]string, len(words))
		for i, word := range words {
			want[i] = strings.ReplaceAll(word, "\x00", "\uFFFD")
		}
		if got, _ := run(t, "curl "+shell.Words(words...)); !slices.Equal(got, want) {
			t.Fatalf("%q became %q", want, got)
		}
	}
}
