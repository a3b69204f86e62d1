//go:build !slim

package ui

import _ "embed"

// viewer is the script of the 3D view, compressed: tools/viewer bundles it with three.js.
//
//go:embed viewer/viewer.js.gz
var viewer []byte
