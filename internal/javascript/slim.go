//go:build slim || 386 || arm || !(linux || darwin || freebsd || windows)

package javascript

import (
	"errors"
	"time"
)

func available() error {
	return errors.New("needs a build of gaff with JavaScript, and this one was built without (tag slim, or a system that the engine does not support): run the full build, or use transform with a CEL expression")
}

func execute(string, []byte, time.Duration) (*Result, error) { return nil, available() }
