package yamlfile

import "github.com/goccy/go-yaml"

// ToJSON converts a file of at most limit bytes, in YAML or JSON, to JSON.
func ToJSON(text []byte, limit int) ([]byte, error) {
	if _, err := Parse(text, limit); err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON(text)
}

// FromJSON converts a JSON document to YAML.
func FromJSON(text []byte) ([]byte, error) { return yaml.JSONToYAML(text) }
