// Package apitest checks answers of the API against its OpenAPI document, for tests.
package apitest

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"gaff/internal/jsonpointer"
)

// location is the name of the document in the compiler.
const location = "openapi.json"

// Document is the OpenAPI document of a gateway. It may be used by several goroutines.
type Document struct {
	paths    map[string]any
	mu       sync.Mutex
	compiler *jsonschema.Compiler
}

// Parse reads an OpenAPI 3.1 document in JSON.
func Parse(text []byte) (*Document, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	d := &Document{compiler: jsonschema.NewCompiler(), paths: member(doc, "paths")}
	d.compiler.AssertFormat()
	return d, d.compiler.AddResource(location, doc)
}

// Check compares an answer with its description. Answers to paths that the document does not have,
// and answers that are not JSON, pass.
func (d *Document) Check(method, target string, status int, header http.Header, body []byte) error {
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	path := d.template(u.EscapedPath())
	operation := member(d.paths, path, strings.ToLower(method))
	if operation == nil || media != "application/json" && media != "application/problem+json" || method == http.MethodHead {
		return nil
	}
	code := strconv.Itoa(status)
	if status >= 400 && member(operation, "responses", code) == nil {
		code = "default"
	}
	if member(operation, "responses", code, "content", media, "schema") == nil {
		return fmt.Errorf("%s %s: status %d with %s is not described", method, path, status, media)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	schema, err := d.compile(path, strings.ToLower(method), code, media)
	if err != nil {
		return err
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("%s %s answers %d with a document that is described differently: %w", method, path, status, err)
	}
	return nil
}

// compile returns the schema of an answer. A compiler is not safe for several goroutines.
func (d *Document) compile(path, method, code, media string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	pointer := location + "#"
	for _, part := range []string{"paths", path, method, "responses", code, "content", media, "schema"} {
		part = jsonpointer.Escape(part)
		pointer += "/" + url.PathEscape(part)
	}
	return d.compiler.Compile(pointer)
}

// template returns the path of the document that a path matches, the one with the fewest
// parameters; empty if none does.
func (d *Document) template(path string) (found string) {
	parts, fewest := strings.Split(strings.TrimSuffix(path, "/"), "/"), -1
	for candidate := range d.paths {
		want := strings.Split(candidate, "/")
		if len(want) != len(parts) {
			continue
		}
		parameters, matches := 0, true
		for i := range want {
			if strings.HasPrefix(want[i], "{") {
				parameters++
			} else if want[i] != parts[i] {
				matches = false
			}
		}
		if matches && (fewest < 0 || parameters < fewest) {
			found, fewest = candidate, parameters
		}
	}
	return found
}

// member follows names through objects; nil if one is missing.
func member(value any, names ...string) map[string]any {
	for _, name := range names {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	object, _ := value.(map[string]any)
	return object
}
