# add_fuzz(name LINK libs...): fuzz/name_fuzz.cc with seeds in fuzz/corpus/name/.
add_fuzz(body LINK pc_smtp)
add_fuzz(journal LINK pc_metrics)
