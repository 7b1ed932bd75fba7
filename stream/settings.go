package stream

import (
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// redacted stands for what a log must not show.
const redacted = "[redacted]"

// settings is the configuration in effect, field by field, for the log. Functions and objects are said to be set; ClientOptions,
// which hold passwords and keys, are counted, and texts that look like secrets are left out.
func (c *Config) settings() []slog.Attr {
	v := reflect.ValueOf(c).Elem()
	secret := regexp.MustCompile(`(?i)passw|secret|token|credential|private|jaas|api_?key|sasl`)
	out := make([]slog.Attr, 0, v.NumField())
	for f, x := range v.Fields() {
		out = append(out, slog.Any(f.Name, setting(x.Interface(), secret, f.Name)))
	}
	return out
}

// setting is one value as it may be shown.
func setting(x any, secret *regexp.Regexp, name string) any {
	switch x := x.(type) {
	case []kgo.Opt:
		return len(x)
	case map[string]string:
		return withoutSecrets(x, secret)
	case []string:
		return slices.Clone(x)
	case string:
		if secret.MatchString(name) && x != "" {
			return redacted
		}
		return x
	case time.Duration:
		if x < 0 {
			return "off"
		}
		return x.String()
	case fmt.Stringer:
		if v := reflect.ValueOf(x); v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
			return x.String()
		}
	}
	switch v := reflect.ValueOf(x); v.Kind() {
	case reflect.Invalid:
		return "none"
	case reflect.Func, reflect.Pointer, reflect.Struct:
		if v.IsZero() {
			return "none"
		}
		return "set"
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Float64:
		return x
	default:
		return "set" // of a kind that nobody has thought about: it may hold anything
	}
}

// withoutSecrets is a map without the values of keys that look like secrets.
func withoutSecrets(m map[string]string, secret *regexp.Regexp) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		if out[k] = v; secret.MatchString(k) {
			out[k] = redacted
		}
	}
	return out
}

// String is the name of the guarantee.
func (g Guarantee) String() string {
	switch g {
	case AtLeastOnce:
		return "at_least_once"
	case ExactlyOnce:
		return "exactly_once"
	case ExactState:
		return "exact_state"
	}
	return fmt.Sprintf("Guarantee(%d)", int(g))
}

// String is the name of the protocol.
func (p GroupProtocol) String() string {
	switch p {
	case AutoProtocol:
		return "auto"
	case ClassicProtocol:
		return "classic"
	case StreamsProtocol:
		return "streams"
	}
	return fmt.Sprintf("GroupProtocol(%d)", int(p))
}

// String is the name of the policy.
func (r OffsetReset) String() string { return r.reset.String() }
