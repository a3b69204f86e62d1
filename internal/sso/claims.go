package sso

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gaff/internal/jsonpointer"
)

const (
	// maxSubject and maxEmail are the longest that the standards allow, in bytes.
	maxSubject = 255
	maxEmail   = 254
	maxGroups  = 2000
)

// claims are what the provider says about a user.
type claims struct{ all map[string]any }

// authorized reports whether the client may use the token: it is its only audience, or the party
// that the token was made for.
func (c *claims) authorized(client string, audience []string) bool {
	party, named := c.all["azp"]
	if named {
		return party == client
	}
	return len(audience) == 1 && audience[0] == client
}

// at returns the value of a claim: its name, or a JSON pointer.
func (c *claims) at(claim string) (value any, ok bool) {
	if value, ok = c.all[claim]; ok || !strings.HasPrefix(claim, "/") {
		return value, ok
	}
	value = c.all
	for _, name := range jsonpointer.Tokens(claim) {
		object, isObject := value.(map[string]any)
		if !isObject {
			return nil, false
		}
		if value, ok = object[name]; !ok {
			return nil, false
		}
	}
	return value, true
}

func (c *claims) has(claim string) bool {
	_, ok := c.at(claim)
	return ok
}

// groups returns the texts of a claim: a list, or one text.
func (c *claims) groups(claim string) (all []string) {
	value, _ := c.at(claim)
	switch value := value.(type) {
	case string:
		all = []string{value}
	case []any:
		for _, one := range value[:min(len(value), maxGroups)] {
			if text, ok := one.(string); ok {
				all = append(all, text)
			}
		}
	}
	// "*" means every user in a mapping and must not be a group's name.
	return slices.DeleteFunc(all, func(g string) bool { return g == "*" })
}

// name returns the email address, unless the provider says that it is not verified; else the
// subject, marked so that it cannot look like another credential.
func (c *claims) name(subject string) string {
	email, _ := c.all["email"].(string)
	verified, stated := c.all["email_verified"]
	if strings.Contains(email, "@") && printable(email, maxEmail) && (!stated || verified == true || verified == "true") {
		return email
	}
	return "oidc:" + subject
}

func printable(text string, most int) bool {
	return text != "" && len(text) <= most && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}
