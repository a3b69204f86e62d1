package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff/client"
	"gaff/provider/all"
)

// The functions below return an error that says what would be right, without the value.

// checkWord accepts only the given words.
func checkWord(text string, words ...string) error {
	if slices.Contains(words, text) {
		return nil
	}
	last := len(words) - 1
	return fmt.Errorf("must be %s or %s", strings.Join(words[:last], ", "), words[last])
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("is not a listen address; write host:port or :port, such as :3000 or 127.0.0.1:3000")
	}
	return nil
}

// checkLoopback accepts an empty text, and listen addresses that only this machine reaches.
func checkLoopback(addr string) error {
	if addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("must be host:port, such as 127.0.0.1:6060")
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return errors.New("must be a loopback address, such as 127.0.0.1:6060: profiles are served without a token")
}

func checkMedia(text string) error {
	if text == "" || text == "off" {
		return nil
	}
	if u, err := url.Parse(text); err != nil || u.Scheme == "" {
		return errors.New(`must be empty, off, or an address such as s3://bucket/prefix or file:///a/folder`)
	}
	return nil
}

// checkOrigins accepts the origins of pages as browsers send them.
func checkOrigins(list []string) error {
	for _, text := range list {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || text != u.Scheme+"://"+strings.ToLower(u.Host) {
			return fmt.Errorf("%.60q is not the origin of a page; write them like https://app.example.com, without a path or a slash at the end", text)
		}
	}
	return nil
}

func checkAtLeast(n, least int64, want string) error {
	if n < least {
		return fmt.Errorf("must be at least %d: %s", least, want)
	}
	return nil
}

var contentType = regexp.MustCompile(`^(\*|[a-z0-9.+-]+)/(\*|[a-z0-9.+-]+)$`)

func checkTypes(list []string) error {
	for _, text := range list {
		if !contentType.MatchString(text) {
			return fmt.Errorf("%.60q is not a content type; write them like image/png or video/*", text)
		}
	}
	return nil
}

// checkToken rejects texts that a header cannot carry.
func checkToken(s Secret) error {
	for _, r := range string(s) {
		if r <= ' ' || r > '~' {
			return errors.New("holds a space, a line break or another character that no token can have; check how it was copied")
		}
	}
	return nil
}

// minAdminToken is the shortest admin token that cannot be guessed, in characters.
const minAdminToken = 20

// CheckAdminToken returns an error for a token that cannot be used or could be guessed; nil for an
// empty one.
func CheckAdminToken(s Secret) error {
	if err := checkToken(s); err != nil {
		return err
	}
	if s != "" && len(s) < minAdminToken {
		return fmt.Errorf("has %d characters and could be guessed: set at least %d, such as the output of \"openssl rand -hex 24\"", len(s), minAdminToken)
	}
	return nil
}

func checkSigning(secrets []Secret) error {
	if len(secrets) > 4 {
		return errors.New("must be at most four secrets")
	}
	for _, secret := range secrets {
		if _, err := client.Key(string(secret)); err != nil {
			return errors.New(`must be "whsec_" and at least 16 random bytes in base64`)
		}
	}
	return nil
}

func checkURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return errors.New("must be a whole URL, such as https://hooks.example.com")
	}
	if u.User != nil {
		return errors.New("must not hold a user or password")
	}
	if strings.Contains(text, "#") {
		return errors.New("must not hold a fragment (#…)")
	}
	return nil
}

func checkBase(text string) error {
	if err := checkURL(text); err != nil {
		return err
	}
	if strings.Contains(text, "?") {
		return errors.New("must not hold a query (?…): paths are appended to it")
	}
	return nil
}

// receivingPath is the path of webhook URLs, below the public base.
const receivingPath = "/api/v1/webhooks"

// receiving counts how often a URL's path has the receiving path in it.
func receiving(text string) int {
	u, err := url.Parse(text)
	if err != nil {
		return 0
	}
	return strings.Count(strings.ToLower(path.Clean(u.Path))+"/", receivingPath+"/")
}

func checkPublicBase(text string) error {
	if receiving(text) > 0 {
		return fmt.Errorf("must be the base only, without %s: gaff appends the path and the source's name", receivingPath)
	}
	return checkBase(text)
}

// checkWebhookURL checks a whole webhook URL, to which gaff appends a callback token.
func checkWebhookURL(text string) error {
	if receiving(text) > 1 {
		return fmt.Errorf("holds the path %s twice; write it once, such as https://hooks.example.com%s/NAME", receivingPath, receivingPath)
	}
	return checkBase(text)
}

func checkPositive(d time.Duration, want string) error {
	if d <= 0 {
		return errors.New("must be more than zero: " + want)
	}
	return nil
}

func checkPrefixes(list []string) error {
	for _, text := range list {
		if _, err := netip.ParsePrefix(text); err != nil {
			return fmt.Errorf("%q is not an address or network; write them like 127.0.0.1 or 10.1.0.0/16", text)
		}
	}
	return nil
}

// wholePrefixes makes networks of the addresses in a list.
func wholePrefixes(list []string) {
	for i, text := range list {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			list[i] = netip.PrefixFrom(addr, addr.BitLen()).String()
		}
	}
}

func trimSlash(text string) string { return strings.TrimRight(text, "/") }

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// limitExample is a value of GAFF_WORKFLOW_LIMITS.
var limitExample = strings.Join(all.Names(), "=2,") + "=4"

// checkLimits checks texts such as [limitExample].
func checkLimits(limits []string) error {
	for _, text := range limits {
		name, number, ok := strings.Cut(text, "=")
		if n, err := strconv.Atoi(strings.TrimSpace(number)); !ok || err != nil || n < 1 || strings.TrimSpace(name) == "" {
			return fmt.Errorf("%q is not a limit; write one like %s", text, limitExample)
		}
	}
	return nil
}

// checkPairs checks texts of the form name=value.
func checkPairs(secrets []Secret) error {
	for _, secret := range secrets {
		if name, _, ok := strings.Cut(string(secret), "="); !ok || strings.TrimSpace(name) == "" {
			return errors.New("must be name=value, several by commas")
		}
	}
	return nil
}
