// Wordcount counts the words of the topic "lines" into the topic "word-counts"; both must exist.
package main

import (
	"context"
	"log"
	"strings"

	"github.com/millrun/millrun/stream"
)

func topology() *stream.Builder {
	b := stream.NewBuilder()
	b.Stream[string, string]("lines").
		FlatMapValues(func(_, line string, emit func(string)) {
			for word := range strings.FieldsSeq(strings.ToLower(line)) {
				emit(word)
			}
		}).
		GroupBy(func(_, word string) string { return word }).
		Count(stream.As("counts")).
		ToStream().To("word-counts")
	return b
}

func main() {
	app, err := stream.NewApp(topology(), stream.Config{ApplicationID: "wordcount", Brokers: []string{"localhost:9092"}})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(app.Run(context.Background()))
}
