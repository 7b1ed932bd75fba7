package postgres_test

func playApplier(string) {}
