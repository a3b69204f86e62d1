package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff/internal/fuzzseed"
)

func TestDotEnv(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text   string
		want   []variable
		faults []dotEnvFault
	}{
		"plain":          {"A=1\nB = two words \n", []variable{{"A", "1", 1}, {"B", "two words", 2}}, nil},
		"windows":        {"\ufeffA=1\r\nB=2\r\n", []variable{{"A", "1", 1}, {"B", "2", 2}}, nil},
		"comments":       {"# c\n\nA=1 # c\nB=a#b\nC=#c\n  # d", []variable{{"A", "1", 3}, {"B", "a#b", 4}, {"C", "", 5}}, nil},
		"export":         {"export A=1\nexport  B=2\nexport=3", []variable{{"A", "1", 1}, {"B", "2", 2}, {"export", "3", 3}}, nil},
		"single quotes":  {`A='a "b" \n $X # no' # c`, []variable{{"A", `a "b" \n $X # no`, 1}}, nil},
		"double quotes":  {`A="a\n\t\"b\" \\ \$X \q '"`, []variable{{"A", "a\n\t\"b\" \\ $X \\q '", 1}}, nil},
		"more lines":     {"A=\"x \ny\"\nB='\n\n' # c\nC=1", []variable{{"A", "x \ny", 1}, {"B", "\n\n", 3}, {"C", "1", 6}}, nil},
		"equals":         {"A=b=c==\nB=", []variable{{"A", "b=c==", 1}, {"B", "", 2}}, nil},
		"no name":        {"=1\nA-B=1\n1A=2\nfoo\nA=1", []variable{{"A", "1", 5}}, []dotEnvFault{{1, notAssigned}, {2, notAssigned}, {3, notAssigned}, {4, notAssigned}}},
		"open quote":     {"A=1\nB='x\nC=2", []variable{{"A", "1", 1}}, []dotEnvFault{{2, "the quote of B is not closed"}}},
		"after quote":    {"A='x'y\nB=1", []variable{{"B", "1", 2}}, []dotEnvFault{{1, "text follows the closing quote of A"}}},
		"escape at end":  {`A="\`, nil, []dotEnvFault{{1, "the quote of A is not closed"}}},
		"no line at end": {"A=1", []variable{{"A", "1", 1}}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars, faults := parseDotEnv(test.text)
			opt := cmp.AllowUnexported(variable{}, dotEnvFault{})
			if diff := cmp.Diff(test.want, vars, opt); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.faults, faults, opt); diff != "" {
				t.Error(diff)
			}
		})
	}
}

const notAssigned = "is not an assignment; write NAME=VALUE"

func FuzzDotEnv(f *testing.F) {
	f.Add("A=1\nexport B='x\ny' # c\nC=\"\\n\"\r\n")
	f.Add("A=\"\\")
	for _, text := range fuzzseed.Vary("A=1\nexport B='x\ny' # c\nC=\"\\n\"\r\n") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		vars, faults := parseDotEnv(text)
		last := 0
		for _, v := range vars {
			if !isVariable(v.name) || v.line <= last || v.line > lines {
				t.Errorf("%q at line %d of %d, after %d", v.name, v.line, lines, last)
			}
			last = v.line
		}
		for _, b := range faults {
			if b.line < 1 || b.line > lines {
				t.Errorf("fault at line %d of %d", b.line, lines)
			}
		}
		// A value in single quotes comes back as it was written.
		if !strings.ContainsAny(text, "'\r\n") {
			vars, _ := parseDotEnv("X='" + text + "'")
			if len(vars) != 1 || vars[0].value != text {
				t.Errorf("%q came back as %+v", text, vars)
			}
		}
	})
}
