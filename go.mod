module gaff

go 1.26
