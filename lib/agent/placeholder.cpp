namespace kfab::agent{}
