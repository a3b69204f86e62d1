package secretbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

const (
	// maxRecipients bounds those of a backup: each adds about 100 bytes to each file.
	maxRecipients = 20
	// maxIdentityFile bounds a file with identities, in bytes.
	maxIdentityFile = 1 << 20
)

// Recipients reads the public keys that backups are encrypted to.
func Recipients(texts []string) (list []age.Recipient, err error) {
	if len(texts) > maxRecipients {
		return nil, fmt.Errorf("%d recipients: want %d at most", len(texts), maxRecipients)
	}
	for _, text := range texts {
		if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
			return nil, errors.New("this is an identity, which must stay secret: want its recipient age1…, which gaff secrets recipient FILE prints")
		}
		r, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, fmt.Errorf("%.80q is not a recipient: want age1…, which gaff secrets recipient FILE prints", text)
		}
		list = append(list, r)
	}
	return list, nil
}

// Identities reads the keys that decrypt backups: one a line, with comments after "#".
func Identities(file string) (list []age.Identity, recipients []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxIdentityFile))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, err := age.ParseX25519Identity(text)
		if err != nil {
			// The error of age may quote the key.
			return nil, nil, fmt.Errorf("%s: line %d is not an identity such as AGE-SECRET-KEY-1…; gaff secrets key makes one", file, n)
		}
		list, recipients = append(list, key), append(recipients, key.Recipient().String())
	}
	if err := lines.Err(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(list) == 0 {
		return nil, nil, fmt.Errorf("%s has no identity such as AGE-SECRET-KEY-1…; gaff secrets key makes one", file)
	}
	return list, recipients, nil
}
