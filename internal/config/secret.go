package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// secretPrefix marks a value that is kept in a file of its own.
const secretPrefix = "file:"

// resolveSecrets replaces every file:PATH among the secrets by the file's content without its last line break.
func resolveSecrets(c *Config) error {
	var faults []error
	resolve := func(key string, s *string) {
		path, ok := strings.CutPrefix(*s, secretPrefix)
		if !ok {
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
			return
		}
		*s = strings.TrimRight(string(b), "\r\n")
	}
	resolve("blob.connection_string", &c.Blob.ConnectionString)
	resolve("database.url", &c.Database.URL)
	resolve("database.admin", &c.Database.Admin)
	resolve("retention.hmac_key", &c.Retention.HMACKey)
	for team, cred := range c.Database.Credentials {
		resolve("database.credentials."+team+".password", &cred.Password)
		c.Database.Credentials[team] = cred
	}
	return errors.Join(faults...)
}
