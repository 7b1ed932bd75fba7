package feed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// fetchTimeout bounds one attempt to fetch an image, its bytes included.
const fetchTimeout = 30 * time.Second

// fetchAttempts is how often a server that does not answer, or has trouble of its own, is asked.
const fetchAttempts = 3

// fetcher gets images from the URLs of envelopes. What an envelope says is not to be trusted: only https, only inside
// the allow-list, never redirected, and never to an address that is not public, whatever a name resolves to at that
// moment (OWASP API7:2023). Safe for concurrent use.
type fetcher struct {
	prefixes []*url.URL
	client   *http.Client
}

// newFetcher allows URLs below prefixes. permit says which addresses may be dialled.
func newFetcher(prefixes []string, permit func(netip.Addr) bool) (*fetcher, error) {
	parsed, err := parsePrefixes(prefixes)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !permit(at.Addr().Unmap()) {
			return fmt.Errorf("%w: %s", errAddress, address)
		}
		return nil
	}}
	return &fetcher{prefixes: parsed, client: &http.Client{
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 10 * time.Second,
			DisableCompression: true, MaxResponseHeaderBytes: 32 << 10, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
		},
	}}, nil
}

// errAddress says that a name leads where the feed has no business.
var errAddress = errors.New("feed: not a public address")

// parsePrefixes reads the allow-list, all faults at once.
func parsePrefixes(prefixes []string) ([]*url.URL, error) {
	var parsed []*url.URL
	var faults []error
	for _, p := range prefixes {
		u, err := url.Parse(p)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			faults = append(faults, fmt.Errorf("feed: %q cannot be an allowed prefix: want https://host/ and perhaps a path", p))
			continue
		}
		parsed = append(parsed, u)
	}
	return parsed, errors.Join(faults...)
}

// allowed parses an envelope's URL when it is inside the allow-list.
func (f *fetcher) allowed(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("a url must be https, without user and fragment")
	}
	escaped := strings.ToLower(u.EscapedPath())
	for _, trick := range []string{"/../", "/./", "%2e", "%2f", "%5c", "\\", "//"} {
		if strings.Contains(escaped+"/", trick) {
			return nil, errors.New("the url's path is not plain")
		}
	}
	for _, p := range f.prefixes {
		below := p.Path == "" || strings.HasPrefix(u.Path, strings.TrimSuffix(p.Path, "/")+"/") || u.Path == p.Path
		if strings.EqualFold(u.Host, p.Host) && below {
			return u, nil
		}
	}
	return nil, errors.New("the url is outside the allow-list")
}

// get asks once. A *refusal will not get better; any other error may.
func (f *fetcher) get(ctx context.Context, raw string) (*http.Response, error) {
	u, err := f.allowed(raw)
	if err != nil {
		return nil, refuse(codeURLRefused, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, refuse(codeURLRefused, errors.New("the url cannot be asked for"))
	}
	r.Header.Set("Accept", "image/jpeg, image/png, image/gif, image/webp")
	resp, err := f.client.Do(r)
	switch {
	case errors.Is(err, errAddress):
		return nil, refuse(codeURLRefused, errAddress)
	case err != nil:
		return nil, errors.New("the server could not be reached") // its words may repeat the url, which may be personal
	case resp.StatusCode == http.StatusOK:
		return resp, nil
	}
	_ = resp.Body.Close() // only read from
	answer := fmt.Errorf("the server answered %d", resp.StatusCode)
	if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout {
		return nil, answer
	}
	return nil, refuse(codeURLFailed, answer)
}

// close ends idle connections.
func (f *fetcher) close() { f.client.CloseIdleConnections() }

// private are the networks that are not on the public internet, or lead into our own, beyond those that package netip
// tells (IANA special-purpose registries; 168.63.129.16 is Azure's platform address).
var private = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("fec0::/10"),
}

// public says whether an address is on the public internet.
func public(a netip.Addr) bool {
	if a = a.Unmap(); !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range private {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
