package config

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"gaff"
	"gaff/internal/suggest"
	"gaff/internal/yamlfile"
	"gaff/provider/all"
	"gaff/provider/described"
)

// Provider is an entry of providers: in the file. It sets up a provider of the catalogue, or one
// that Describe or File describes.
type Provider struct {
	// Use names an entry of the catalogue; empty: the one of the provider's name.
	Use      string                 `yaml:"use"`
	File     string                 `yaml:"file"`
	Describe *described.Description `yaml:"describe"`
	// BaseURL replaces the description's; it may be of a private network.
	BaseURL string `yaml:"base_url"`
	// Secrets are those that the description names.
	Secrets map[string]Secret `yaml:"secrets"`
	// Concurrency is how many submits each node sends at once, Rate how many polls a second all nodes
	// make; zero: as the description says.
	Concurrency int     `yaml:"concurrency"`
	Rate        float64 `yaml:"rate"`
	// WebhookSecrets verify its webhooks; the first one is sent to providers that take one.
	WebhookSecrets []Secret `yaml:"webhook_secrets"`
}

// Description returns the provider's description; nil if it has none.
func (p *Provider) Description(name string) *described.Description {
	if p.Describe != nil {
		return p.Describe
	}
	if p.Use != "" {
		name = p.Use
	}
	d, _ := described.Find(name)
	return d
}

// readDescriptions reads the files that describe providers.
func (l *loader) readDescriptions() {
	for _, name := range slices.Sorted(maps.Keys(l.c.Described)) {
		p := l.c.Described[name]
		if p.File == "" {
			continue
		}
		path := "providers." + name
		if p.Describe != nil {
			l.fault(path+".file", p.File, l.c.origins[path+".file"], "describe is set too; keep one of the two")
			continue
		}
		p.Describe = l.readDescription(path+".describe", p.File)
		l.c.Described[name] = p
	}
}

// readDescription reads a file of a description; nil if it has faults.
func (l *loader) readDescription(path, file string) *described.Description {
	before, main := len(l.faults), l.file
	l.file = file
	defer func() { l.file = main }()
	text, err := readSmall(l.path(file))
	if err != nil {
		l.fault(path, "", file, "cannot be read: "+reason(err))
		return nil
	}
	parsed, err := yamlfile.Parse([]byte(text), maxFile)
	if err != nil {
		l.yamlFault(err)
		return nil
	}
	var body ast.Node
	for _, doc := range parsed.Docs {
		if body == nil {
			body = doc.Body
		}
	}
	if body == nil {
		l.fault(path, "", file, "is empty")
		return nil
	}
	d := new(described.Description)
	l.c.origins[path] = file
	l.decodeStruct(path, body, reflect.ValueOf(d).Elem())
	if len(l.faults) > before { // its check would find more faults than it has
		return nil
	}
	return d
}

// ReadDescription reads and checks a file that describes a provider. The error is a [Faults].
func ReadDescription(file string) (*described.Description, error) {
	const path = "provider"
	l := loader{c: Default(), split: map[string]bool{}, referred: map[string]bool{}}
	l.c.origins = map[string]string{}
	d := l.readDescription(path, file)
	if d == nil {
		return nil, l.faults.err()
	}
	k := &checker{path: path, origins: l.c.origins, faults: &l.faults}
	k.description(path, d)
	return d, l.faults.err()
}

// description reports the faults of a description at a path.
func (k *checker) description(path string, d *described.Description) {
	for _, f := range d.Check() {
		at := path
		if f.Path != "" {
			at += "." + f.Path
		}
		k.report(at, "", f.Problem)
	}
}

func (p *Provider) check(name string, k *checker) {
	_, own := all.Find(name)
	switch {
	case own:
		k.report(k.path, "", "gaff has this provider; its settings are in docs/configuration.md, and a described one needs another name")
		return
	case name == customSource:
		k.report(k.path, "", "this name is that of a source of gaff's; choose another")
	default:
		// A provider is the source of its webhooks.
		if err := gaff.CheckSourceName(name); err != nil {
			k.report(k.path, "", err.Error())
		}
	}
	if p.Use != "" && (p.File != "" || p.Describe != nil) {
		k.value(&p.Use, errors.New("a description is set too; keep one of the two"))
	}
	d := p.Description(name)
	if d == nil {
		if p.File == "" {
			p.unknown(name, k)
		}
		return
	}
	if p.Describe != nil {
		k.description(k.path+".describe", d)
	}
	if p.BaseURL != "" {
		k.value(&p.BaseURL, checkBase(p.BaseURL))
	}
	if p.Concurrency < 0 || p.Concurrency > 1000 {
		k.value(&p.Concurrency, errors.New("must be 1 to 1000, or 0 for the description's"))
	}
	if !(p.Rate >= 0 && p.Rate <= 1000) {
		k.value(&p.Rate, errors.New("must be more than 0 and at most 1000, or 0 for the description's"))
	}
	for _, secret := range slices.Sorted(maps.Keys(p.Secrets)) {
		if _, known := d.Secrets[secret]; !known {
			names := slices.Sorted(maps.Keys(d.Secrets))
			hint := suggest.Hint(secret, names)
			if hint == "" {
				hint = "; known: " + strings.Join(names, ", ")
			}
			k.part(&p.Secrets, "."+secret, "", "is not a secret of "+d.Title+hint)
		} else if err := checkToken(p.Secrets[secret]); err != nil {
			k.part(&p.Secrets, "."+secret, "", err.Error())
		}
	}
}

// unknown reports that the catalogue has no description.
func (p *Provider) unknown(name string, k *checker) {
	hint := suggest.Hint(name, described.Catalogue())
	if p.Use != "" {
		hint = suggest.Hint(p.Use, described.Catalogue())
	}
	if hint == "" {
		hint = "; the catalogue has " + strings.Join(described.Catalogue(), ", ")
	}
	if p.Use != "" {
		k.value(&p.Use, errors.New("is not in the catalogue"+hint))
		return
	}
	k.report(k.path, "", "is not in the catalogue, and neither describe: nor file: says how it works"+hint)
}
