package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// envPrefix begins every variable that is ours.
const envPrefix = "MILLRUN_"

// applyEnv sets every field whose variable is present. A list is separated by commas; a map or a list of structures is
// written as YAML in one variable. A variable that names no field is a fault: it is most likely a misspelling.
func applyEnv(c *Config, environ []string) error {
	fields := map[string]reflect.Value{}
	collect(reflect.ValueOf(c).Elem(), strings.TrimSuffix(envPrefix, "_"), fields)
	var faults []error
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || reserved[name] {
			continue
		}
		f, ok := fields[name]
		if !ok {
			faults = append(faults, fmt.Errorf("environment: %s is no setting", name))
			continue
		}
		if err := setField(f, value); err != nil {
			faults = append(faults, fmt.Errorf("environment: %s: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

// reserved are variables of ours that are no settings: they belong to tests and to the command line.
var reserved = map[string]bool{
	"MILLRUN_CONFIG": true, "MILLRUN_LOG_FORMAT": true, "MILLRUN_LOG_LEVEL": true, "MILLRUN_MISSING": true,
	"MILLRUN_CACHE": true,
}

// collect maps variable names to the fields below v.
func collect(v reflect.Value, name string, into map[string]reflect.Value) {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("yaml")
		child := name + "_" + strings.ToUpper(tag)
		if f := v.Field(i); f.Kind() == reflect.Struct {
			collect(f, child, into)
		} else {
			into[child] = f
		}
	}
}

func setField(f reflect.Value, s string) error {
	if f.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(s)
		f.SetInt(int64(d))
		return err
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		f.SetBool(b)
		return err
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		f.SetInt(n)
		return err
	case reflect.Slice:
		if f.Type().Elem().Kind() == reflect.String {
			f.Set(reflect.ValueOf(splitList(s)))
			return nil
		}
		return yaml.Unmarshal([]byte(s), f.Addr().Interface())
	default:
		return yaml.Unmarshal([]byte(s), f.Addr().Interface())
	}
	return nil
}

func splitList(s string) []string {
	var list []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}
