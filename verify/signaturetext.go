package verify

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	// Limits of signatures in one request. Comparing a digest is cheap; a public key operation
	// costs a thousand times as much.
	maxSignatures       = 512
	maxPublicSignatures = 32
	maxTagSeps          = 8 // separators of an item that may end its tag
)

// signaturePlace is a [Signature] ready for use.
type signaturePlace struct {
	Signature
	at  place
	tag *regexp.Regexp
}

// signatureTexts are the signatures of a request, as text, and the timestamp among them.
type signatureTexts struct {
	list  []string
	array [4]string // of list, so that a few need no allocation
	time  string    // of a field inside the signature's text
	most  int       // the limit of list
}

// read splits the text and adds its signatures to t. timeKey names the field with the
// timestamp; it is empty if the text has none.
func (p *signaturePlace) read(text, timeKey string, t *signatureTexts) error {
	before := len(t.list)
	var err error
	wanted := "" // what an error names if there is no signature
	switch p.Format {
	case "raw":
		err = p.add(text, t)
	case "prefixed":
		sig, ok := strings.CutPrefix(text, p.Prefix)
		if !ok {
			return fmt.Errorf("%s: %w: it does not begin with %s", p.at.label, ErrMalformed, p.Prefix)
		}
		err = p.add(sig, t)
	case "kv":
		wanted = strings.Join(p.SigKeys, ", ")
		err = p.readPairs(text, timeKey, t)
	case "list":
		wanted = strings.Join(p.AcceptTags, ", ")
		err = p.readList(text, t)
	case "tagged":
		wanted = p.TagRegex
		err = p.readTagged(text, t)
	case "positional":
		wanted = "timestamp"
		err = p.readPositional(text, timeKey, t)
	}
	if err == nil && len(t.list) == before {
		return fmt.Errorf("%s: %w: no signature under %s", p.at.label, ErrMissing, wanted)
	}
	return err
}

// readPairs reads the format kv, such as "t=1,v1=ab".
func (p *signaturePlace) readPairs(text, timeKey string, t *signatureTexts) error {
	for rest := text; rest != ""; {
		pair := rest
		if i := strings.IndexAny(rest, p.PairSep); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		key, value, ok := strings.Cut(strings.Trim(pair, " \t"), p.KVSep)
		if !ok {
			continue
		}
		if key == timeKey && timeKey != "" {
			if value == "" {
				return fmt.Errorf("%s: %w: empty %s", p.at.label, ErrMalformed, key)
			}
			if err := p.setTime(value, timeKey, t); err != nil {
				return err
			}
		}
		if slices.Contains(p.SigKeys, key) {
			if err := p.add(value, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// readList reads the format list, such as "v1,ab v1a,cd".
func (p *signaturePlace) readList(text string, t *signatureTexts) error {
	for item := range strings.SplitSeq(text, p.ItemSep) {
		tag, sig, ok := strings.Cut(strings.Trim(item, " \t"), p.TagSep)
		if ok && slices.Contains(p.AcceptTags, tag) {
			if err := p.add(sig, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// readTagged reads the format tagged, such as "1/SHA256/ab". Tags and signatures in base64 may
// contain the separator.
func (p *signaturePlace) readTagged(text string, t *signatureTexts) error {
	for item := range strings.SplitSeq(text, p.ItemSep) {
		item = strings.Trim(item, " \t")
		for i, n := 0, 0; n < maxTagSeps; n++ {
			j := strings.Index(item[i:], p.TagSep)
			if j < 0 {
				break
			}
			tag := item[:i+j]
			i += j + len(p.TagSep)
			if p.tag.MatchString(tag) {
				if err := p.add(item[i:], t); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// readPositional reads the format positional: the timestamp, then signatures.
func (p *signaturePlace) readPositional(text, timeKey string, t *signatureTexts) error {
	first := true
	for item := range strings.SplitSeq(text, p.ItemSep) {
		item = strings.Trim(item, " \t")
		var err error
		if first {
			err = p.setTime(item, timeKey, t)
		} else {
			err = p.add(item, t)
		}
		if err != nil {
			return err
		}
		first = false
	}
	return nil
}

func (p *signaturePlace) add(sig string, t *signatureTexts) error {
	if t.list == nil {
		t.list = t.array[:0]
	}
	if t.list = append(t.list, sig); len(t.list) > t.most {
		return fmt.Errorf("%s: %w: more than %d signatures", p.at.label, ErrAmbiguous, t.most)
	}
	return nil
}

func (p *signaturePlace) setTime(value, timeKey string, t *signatureTexts) error {
	if t.time != "" && t.time != value {
		return fmt.Errorf("%s: %w: two different %s", p.at.label, ErrAmbiguous, timeKey)
	}
	t.time = value
	return nil
}

// write is the reverse of read.
func (p *signaturePlace) write(sig, timeKey, ts string) (string, error) {
	switch p.Format {
	case "prefixed":
		return p.Prefix + sig, nil
	case "kv":
		sep := p.PairSep[:1]
		text := p.SigKeys[0] + p.KVSep + sig
		if timeKey != "" {
			text = timeKey + p.KVSep + ts + sep + text
		}
		return text, nil
	case "list":
		return p.AcceptTags[0] + p.TagSep + sig, nil
	case "tagged":
		tag := p.TagRegex
		if !p.tag.MatchString(tag) {
			if tag = "1" + strings.TrimPrefix(tag, "[0-9]+"); !p.tag.MatchString(tag) {
				return "", errors.New("the scheme does not say which tag a signature gets")
			}
		}
		return tag + p.TagSep + sig, nil
	case "positional":
		return ts + p.ItemSep + sig, nil
	}
	return sig, nil
}
