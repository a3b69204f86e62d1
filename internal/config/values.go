package config

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gaff/destination"
)

// size is an int64 that is written as a size.
type size int64

// assign parses a text into the value that field points to. Its errors say what would be right;
// they do not quote the text.
func assign(field any, text string) error {
	switch field.(type) {
	case *string, *Secret, *[]Secret:
	default:
		text = strings.TrimSpace(text)
	}
	switch p := field.(type) {
	case *string:
		*p = text
	case *Secret:
		*p = Secret(text)
	case *bool:
		switch strings.ToLower(text) {
		case "true":
			*p = true
		case "false":
			*p = false
		default:
			return errors.New("must be true or false")
		}
	case *[]string:
		*p = splitList(text)
	case *[]Secret:
		return assignSecrets(p, text)
	case *time.Duration:
		d, err := ParseDuration(text)
		if err != nil {
			return err
		}
		*p = d
	case *destination.Duration:
		return assign((*time.Duration)(p), text)
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("must be a whole number")
		}
		*p = n
	case *size:
		n, err := parseSize(text)
		if err != nil {
			return err
		}
		*p = size(n)
	case *int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errors.New("must be a whole number")
		}
		*p = n
	case *float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errors.New("must be a number")
		}
		*p = f
	default:
		return fmt.Errorf("has a type that cannot be set: %T", field)
	}
	return nil
}

func assignSecrets(field *[]Secret, text string) error {
	list, err := splitSecrets(text)
	if err != nil {
		return err
	}
	*field = nil
	for _, item := range list {
		*field = append(*field, Secret(item))
	}
	return nil
}

// splitList splits "a, b,,c" at its commas, without the empty items.
func splitList(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// splitSecrets splits secrets: at line breaks if it has any, and then commas belong to the secrets;
// else at commas, except those that are written as \,
func splitSecrets(text string) ([]string, error) {
	if strings.ContainsRune(text, '\n') {
		var list []string
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.TrimSpace(line)
			if strings.HasSuffix(line, ",") {
				return nil, errors.New("has several lines, one of which ends with a comma: write one secret a line, without commas between them")
			}
			if line != "" {
				list = append(list, line)
			}
		}
		return list, nil
	}
	const comma = "\x00" // no setting contains one
	list := splitList(strings.ReplaceAll(text, `\,`, comma))
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], comma, ",")
	}
	return list, nil
}

// ParseDuration is time.ParseDuration with days in front: 1d, 1d12h.
func ParseDuration(text string) (time.Duration, error) {
	wrong := errors.New("is not a duration; write one like 30s, 2m, 1h30m or 1d")
	rest := text
	var days time.Duration
	if head, tail, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return 0, wrong
		}
		days, rest = time.Duration(n)*24*time.Hour, tail
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || days > 0 && (d < 0 || d > math.MaxInt64-days) {
		return 0, wrong
	}
	return days + d, nil
}

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"b", 1}, {"", 1},
}

// parseSize reads a number of bytes: 65536, 64KiB, 2MiB, 1GB.
func parseSize(text string) (int64, error) {
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(lower, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/unit.bytes {
			break
		}
		return n * unit.bytes, nil
	}
	return 0, errors.New("is not a size; write one like 65536, 64KiB or 2MiB")
}

// display returns the value that field points to, as [assign] reads it. Secrets are redacted.
func display(field any) string {
	switch p := field.(type) {
	case *string:
		return *p
	case *Secret:
		return p.String()
	case *[]Secret:
		if n := len(*p); n > 1 {
			return fmt.Sprintf("[redacted] (%d)", n)
		} else if n == 0 {
			return ""
		}
		return "[redacted]"
	case *[]string:
		return strings.Join(*p, ",")
	case *[]int:
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(*p), " ", ","), "[]")
	case *time.Duration:
		return formatDuration(*p)
	case *destination.Duration:
		return formatDuration(time.Duration(*p))
	case *int64:
		return strconv.FormatInt(*p, 10)
	case *size:
		return formatSize(int64(*p))
	case *int:
		return strconv.Itoa(*p)
	case *float64:
		return strconv.FormatFloat(*p, 'g', -1, 64)
	case *bool:
		return strconv.FormatBool(*p)
	}
	return ""
}

// redactURL returns a URL without what can be a password.
func redactURL(text string) string {
	if text == "" || text == "off" {
		return text
	}
	if strings.HasPrefix(text, "postgres:") || strings.HasPrefix(text, "postgresql:") {
		return redactDatabase(text)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" {
		return "[redacted]"
	}
	if u.RawQuery != "" {
		u.RawQuery = "[redacted]"
	}
	if u.Opaque != "" {
		u.Opaque = "[redacted]"
	}
	if _, has := u.User.Password(); has {
		u.User = url.User(u.User.Username())
		return strings.Replace(u.String(), "@", ":[redacted]@", 1)
	}
	return u.String()
}

func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-2]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-2]
	}
	return text
}

func formatSize(n int64) string {
	for i, suffix := range []string{"GiB", "MiB", "KiB"} {
		if unit := int64(1) << (30 - 10*i); n >= unit && n%unit == 0 {
			return strconv.FormatInt(n/unit, 10) + suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
