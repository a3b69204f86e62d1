//go:build !slim

package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/jsonpointer"
	"gaff/internal/sorting"
)

// Bounds of the texts of a problem, in bytes.
const (
	maxPath    = 300
	maxMessage = 300
	maxNames   = 5
)

// problemsOf returns the problems of an error, sorted by path. Messages have values of the schema
// and names of members, but no values of the event: those are part of its body.
func problemsOf(err error) []gaff.SchemaProblem {
	e, ok := err.(*jsonschema.ValidationError) //nolint:errorlint // it is never wrapped
	if !ok {
		return nil
	}
	list := leaves(nil, e)
	sorting.By(list, func(a, b gaff.SchemaProblem) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Keyword, b.Keyword), strings.Compare(a.Message, b.Message))
	})
	return slices.Compact(list)
}

// leaves appends the problems of an error and of its causes.
func leaves(list []gaff.SchemaProblem, e *jsonschema.ValidationError) []gaff.SchemaProblem {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.PropertyNames: // the causes are of alternatives, or of a name
	default:
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				list = leaves(list, cause)
			}
			return list
		}
	}
	p := gaff.SchemaProblem{Path: excerpt.Text(pointer(e.InstanceLocation), maxPath), Message: excerpt.Text(messageOf(e.ErrorKind), maxMessage)}
	if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
		p.Keyword = path[0]
	}
	return append(list, p)
}

func pointer(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		if b.Len() > maxPath {
			break
		}
		b.WriteString("/" + jsonpointer.Escape(excerpt.Text(token, maxPath)))
	}
	return b.String()
}

var english = message.NewPrinter(language.English)

func messageOf(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "is " + k.Got + ", want " + strings.Join(k.Want, " or ")
	case *kind.Enum:
		return "is not one of the allowed values: " + values(k.Want)
	case *kind.Const:
		return "is not the only allowed value: " + values([]any{k.Want})
	case *kind.Format:
		if k.Want == "regex" {
			return "is not a regular expression of RE2"
		}
		return "is not a valid " + k.Want
	case *kind.Pattern:
		return fmt.Sprintf("does not match the pattern %q", k.Want)
	case *kind.Required:
		return "lacks the members " + names(k.Missing)
	case *kind.AdditionalProperties:
		slices.Sort(k.Properties)
		return "has members that are not allowed: " + names(k.Properties)
	case *kind.PropertyNames:
		return "has a member whose name is not allowed: " + names([]string{k.Property})
	case *kind.Minimum:
		return "is less than " + decimal(k.Want)
	case *kind.Maximum:
		return "is more than " + decimal(k.Want)
	case *kind.ExclusiveMinimum:
		return "is not more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "is not less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "is not a multiple of " + decimal(k.Want)
	case *kind.AnyOf:
		return "matches none of the alternatives"
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return "matches several of the alternatives, want one"
		}
		return "matches none of the alternatives"
	case *kind.Not:
		return "matches what it must not"
	case *kind.FalseSchema:
		return "is not allowed"
	case *kind.InvalidJsonValue, *kind.ContentEncoding, *kind.ContentMediaType:
		return "is not valid" // the library's texts quote the value
	}
	return k.LocalizedString(english)
}

func decimal(n *big.Rat) string {
	f, _ := n.Float64()
	return fmt.Sprintf("%v", f)
}

func names(list []string) string {
	var b strings.Builder
	for i, name := range list[:min(len(list), maxNames)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", excerpt.Text(name, 60))
	}
	if len(list) > maxNames {
		fmt.Fprintf(&b, " and %d more", len(list)-maxNames)
	}
	return b.String()
}

// values writes values of a schema.
func values(list []any) string {
	var b strings.Builder
	for i, value := range list[:min(len(list), 2*maxNames)] {
		if i > 0 {
			b.WriteString(", ")
		}
		text, _ := json.Marshal(value)
		b.WriteString(excerpt.Text(string(text), 60))
	}
	if len(list) > 2*maxNames {
		fmt.Fprintf(&b, " and %d more", len(list)-2*maxNames)
	}
	return b.String()
}
