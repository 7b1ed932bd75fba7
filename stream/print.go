package stream

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"sync"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// Print ends the stream in a writer, os.Stdout by default. A record is a line: the name of the operator before, the key and
// the value, where null stands for what is not there. The tasks take turns.
func (s KStream[K, V]) Print(opts ...Printed) {
	var set opt.Settings
	for _, o := range opts {
		o.PrintedOption(opt.Seal{}, &set)
	}
	if set.Output == nil {
		set.Output = os.Stdout
	}
	var named []Option
	if set.Name != "" {
		named = []Option{Named(set.Name)}
	}
	s.s.then("Print", "KSTREAM-PRINTER-", named, printBody[K, V](s.s.n.Name, set.Output))
}

func printBody[K, V any](label string, w io.Writer) body {
	var turn sync.Mutex
	return simple(func(_ *task.Assembly, n *plan.Node) any {
		at, nilKey, nilValue := n.Index, hasNil[K](), hasNil[V]()
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			line := fmt.Sprintf("[%s]: %s, %s\n", label,
				shown(k, r.Keyless || nilKey && isNil(k)), shown(v, r.Tombstone || nilValue && isNil(v)))
			turn.Lock()
			defer turn.Unlock()
			if _, err := io.WriteString(w, line); err != nil {
				return faulty(task.Processing, n, fmt.Errorf("print: %w", err))
			}
			return nil
		}
	})
}

func shown[T any](v T, null bool) string {
	if null {
		return "null"
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer {
		return fmt.Sprint(p.Elem()) // its address would say nothing
	}
	return fmt.Sprint(v)
}
