//go:build slim

package blob

import (
	"fmt"
	"net/url"
)

// openBucket always fails.
func openBucket(u *url.URL) (Store, error) {
	return nil, fmt.Errorf("%s:// needs a build of gaff with S3, and this one was built without (tag slim): run the full build, or store media in a folder", u.Scheme)
}
