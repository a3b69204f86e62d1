package erase_test

import (
	"testing"

	"gaff/internal/erase"
)

func TestMatcherFindsWholeIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id, text string
		want     bool
	}{
		{"user-42", `{"note":"for user-42, please"}`, true},
		{"user-42", `user-42`, true},
		{"user-42", `https://x.example/u/user-42/a.png`, true},
		{"user-42", `{"id":"user-421"}`, false},
		{"user-42", `{"id":"superuser-42"}`, false},
		{"user-42", `{"id":"a_user-42"}`, false},
		{"a/b@example.com", `{"user":"a\/b@example.com"}`, true},
		{"a/b@example.com", `user=a%2Fb%40example.com&x=1`, true},
		{"jürgen_1", `{"name":"j\u00fcrgen_1"}`, true},
		{"a\"b_12", `{"name":"a\"b_12"}`, true},
		{"😀-user-1", `{"name":"\ud83d\ude00-user-1"}`, true},
		{"u1", `{"user_id":"u1"}`, true},
		{"u1", `{"metadata":{"userId": "u1"}}`, true},
		{"42", `{"user_id":42}`, true},
		{"42", `{"user_id":421}`, false},
		{"42", `{"count":42}`, false},
		{"u1", `{"note":"u1"}`, false},
		{"u1", `a=1&user_id=u1&b=2`, true},
		{"u1", `a=1&user_id=u12`, false},
		{"", ``, false},
	} {
		if c.id == "" {
			continue
		}
		m := erase.NewMatcher(erase.Target{Kind: erase.User, ID: c.id})
		if got := m.InText(c.text); got != c.want {
			t.Errorf("user %q in %s: %t, want %t", c.id, c.text, got, c.want)
		}
		if c.want && m.In(m.Replace([]byte(c.text), "user-0123456789abcdef")) && c.text[0] != '{' {
			t.Errorf("user %q is still in %s", c.id, m.Replace([]byte(c.text), "user-0123456789abcdef"))
		}
	}
	website := erase.NewMatcher(erase.Target{Kind: erase.Project, ID: "website"})
	if website.InText(`{"text":"a picture of a website"}`) {
		t.Error("a project's id that is a word is found in a text")
	}
	if got := string(website.Replace([]byte(`{"projectId":"website","a":"website"}`), "project-x")); got != `{"projectId":"project-x","a":"website"}` {
		t.Errorf("replaced: %s", got)
	}
}
