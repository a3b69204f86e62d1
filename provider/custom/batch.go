package custom

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"gaff"
	"gaff/internal/jsonpointer"
	"gaff/internal/jsonscan"
	"gaff/verify"
)

// lists finds the items of a batch: lists in a document, and lists in the items of lists
// ("/entry/*/changes").
type lists struct {
	at    *verify.Fields
	heads []string
	inner []*lists // of each head; nil: its items are the events
}

func newLists(pointers []string) (*lists, error) {
	l := &lists{}
	var tails [][]string
	for _, p := range pointers {
		head, tail, nested := strings.Cut(p, "/*")
		i := slices.Index(l.heads, head)
		if i < 0 {
			i = len(l.heads)
			l.heads, tails = append(l.heads, head), append(tails, nil)
		}
		if nested && tail != "" {
			tails[i] = append(tails[i], tail)
		}
	}
	var err error
	if l.at, err = verify.NewFields(l.heads...); err != nil {
		return nil, err
	}
	l.inner = make([]*lists, len(l.heads))
	for i, tail := range tails {
		if len(tail) > 0 {
			if l.inner[i], err = newLists(tail); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// Copies of the document around an item may together be this many times the body, and in
// small bodies this many bytes.
const (
	maxCopies = 10
	minCopies = 64 << 10
)

// errWhole: the items cannot be separated, because the document around them is too large, or a
// list. The request becomes one event.
var errWhole = errors.New("the items cannot be taken out")

// item is one event of a batch: its value in the list, and the event's data.
type item struct{ self, data json.RawMessage }

// items returns the items of the first list that doc has; ok is false if it has none. An
// An item of a list in a list keeps the document around it: its data is doc with this one item.
// What lacks the inner list is an item itself, so that nothing is lost. budget bounds the
// bytes of such copies.
func (l *lists) items(doc json.RawMessage, top bool, budget *int) (found []item, ok bool, err error) {
	raw, err := l.at.Raw(doc)
	if err != nil {
		return nil, false, err
	}
	for i, head := range l.heads {
		list := bytes.TrimSpace(raw[i])
		if head == "" {
			list = bytes.TrimSpace(doc)
		}
		if len(list) == 0 || list[0] != '[' {
			continue
		}
		var elements []json.RawMessage // parts of the body: a large one is not copied
		if err := jsonscan.Items(list, func(e []byte) error {
			elements = append(elements, e)
			return nil
		}); err != nil {
			return nil, false, err
		}
		inner := l.inner[i]
		if top && inner == nil {
			for _, e := range elements {
				found = append(found, item{e, e})
			}
			return found, true, nil
		}
		before, after, err := around(doc, jsonpointer.Tokens(head))
		if err != nil {
			return nil, false, errWhole
		}
		for _, e := range elements {
			parts := []item{{e, e}}
			if inner != nil {
				deeper, ok, err := inner.items(e, false, budget)
				if err != nil {
					return nil, false, err
				}
				if ok {
					parts = deeper
				}
			}
			for _, p := range parts {
				p.data = slices.Concat(before, p.data, after)
				if *budget -= len(p.data); *budget < 0 {
					return nil, false, errWhole
				}
				found = append(found, p)
			}
		}
		return found, true, nil
	}
	return nil, false, nil
}

// around returns the document before and after the list that a pointer's tokens lead to. The list
// comes last.
func around(doc json.RawMessage, pointer []string) (before, after []byte, err error) {
	if len(pointer) == 0 {
		return []byte("["), []byte("]"), nil
	}
	name := pointer[0]
	members := map[string]json.RawMessage{} // the others
	var at []byte
	if err := jsonscan.Members(doc, func(quoted, value []byte) error {
		var key string
		if err := json.Unmarshal(quoted, &key); err != nil {
			return err
		}
		if key == name {
			at = value
		} else {
			members[key] = value
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	innerBefore, innerAfter, err := around(at, pointer[1:])
	if err != nil {
		return nil, nil, err
	}
	others, err := json.Marshal(members)
	if err != nil {
		return nil, nil, err
	}
	key, err := json.Marshal(name)
	if err != nil {
		return nil, nil, err
	}
	before = others[:len(others)-1]
	if len(members) > 0 {
		before = append(before, ',')
	}
	return slices.Concat(before, key, []byte(":"), innerBefore), append(innerAfter, '}'), nil
}

// split makes an event of each item. A body without the list is one event.
func (p parser) split(whole gaff.Envelope, data json.RawMessage) (gaff.Envelope, error) {
	budget := maxCopies*len(data) + minCopies
	items, ok, err := p.batch.items(data, true, &budget)
	if errors.Is(err, errWhole) {
		return whole, nil
	}
	if err != nil || !ok {
		return whole, err
	}
	out := gaff.Envelope{Split: true}
	ids := len(p.scheme.Batch.ID)
	for _, item := range items {
		texts, err := p.item.Read(item.self)
		if err != nil {
			return gaff.Envelope{}, err
		}
		one := gaff.Envelope{Data: item.data, Type: cmp.Or(joined(texts[ids:]), whole.Type), CorrelationID: whole.CorrelationID}
		// An id of which the first part is missing would make different events one.
		if ids > 0 && texts[0] != "" {
			one.ID = verify.JoinID(texts[:ids])
		} else {
			one.Status = whole.Status
		}
		out.Batch = append(out.Batch, one)
	}
	return out, nil
}

// joined joins the texts that are not empty by ".".
func joined(texts []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return t == "" }), ".")
}
