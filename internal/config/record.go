package config

import (
	"reflect"

	"gaff/internal/yamlfile"
)

// maxSourceText is the longest description of one source, in bytes.
const maxSourceText = 128 << 10

// ParseSource reads the description of a source that is not in the file: JSON or YAML with the keys
// of a source in gaff.yaml. References (env:, file:) are faults: who may describe a source need
// not be allowed to read the gateway's environment. The error is a [Faults].
func ParseSource(name string, text []byte) (Source, error) {
	l := loader{c: Default(), split: map[string]bool{}, referred: map[string]bool{}, literal: true}
	l.c.origins = map[string]string{}
	var s Source
	file, err := yamlfile.Parse(text, maxSourceText)
	if err != nil {
		l.yamlFault(err)
		return s, l.faults.err()
	}
	path := "sources." + name
	if len(file.Docs) == 1 && file.Docs[0].Body != nil {
		l.decodeStruct(path, file.Docs[0].Body, reflect.ValueOf(&s).Elem())
	}
	k := &checker{fields: map[any]setting{}, origins: map[string]string{}, faults: new(Faults)}
	if len(l.faults) == 0 {
		s.check(name, k.below(path, &s))
		l.faults = *k.faults
	}
	for i := range l.faults {
		l.faults[i].From = "" // the lines of a request mean nothing to its sender
	}
	return s, l.faults.err()
}
